"""Addresses are verified by a mail that only their owner gets, one at a time, and not too often."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from notify.mail.upkeep import MailUpkeep
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.mail_scene import EMAIL, add_fanout, add_mailboxes, mail_scene, queue
from tests.integration.notify.processes import Person, eventually

ADA, BOB, EVE = Person("ada"), Person("bob"), Person("eve")


async def test_from_asking_to_the_verified_address(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        with capture_logs() as logs:
            token = await scene.request(BOB, "Bob@Example.org")
            mail = scene.server.mails[0]
            assert mail.recipients == ("Bob@example.org",)
            assert mail.sender == "notices@example.org"
            assert mail.message["Subject"] == "Confirm your mail address"
            assert mail.message["List-Unsubscribe"] is None
            view = await scene.view(BOB)
            assert view["address"] is None
            assert view["unverified"] == {
                "address": "Bob@example.org",
                "state": "requested",
                "expires_at": view["unverified"]["expires_at"],
            }
            assert (await scene.view(EVE))["unverified"] is None, "somebody else sees nothing of it"
            assert not await pool.fetchval("SELECT count(*) FROM destinations"), "nothing is sent to it yet"
            assert await tables_with(pool, token) == [], "the token is only in the mail"
            assert [await scene.verify(wrong) for wrong in ("x", token[:-1], token + "x", token.swapcase())] == [
                404
            ] * 4
            assert await scene.verify(token) == 200
            assert await scene.verify(token) == 404, "a token works once"
        assert token not in json.dumps(logs, default=str)
        view = await scene.view(BOB)
        assert (view["address"], view["unverified"]) == ("Bob@example.org", None)
        row = await pool.fetchrow("SELECT user_id, channel, provider FROM destinations")
        assert row is not None
        assert tuple(row) == (BOB.user_id, "email", f"127.0.0.1:{scene.server.port}")
        assert not (await scene.view(EVE))["address"]


async def tables_with(pool: Pool, text: str) -> list[str]:
    """Tables in which a text stands."""
    names = await pool.fetch(
        "SELECT c.relname FROM pg_class c WHERE relnamespace = 'notify'::regnamespace AND relkind = 'r'"
    )
    return [
        name
        for (name,) in names
        if await pool.fetchval(f"SELECT count(*) FROM {name} AS t WHERE t::text LIKE '%' || $1 || '%'", text)  # noqa: S608  names of tables
    ]


async def test_the_verified_address_stays_until_the_new_one_is_verified(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        first = await scene.verified(BOB, "one@example.org")
        stale = await scene.request(BOB, "two@example.org")
        assert (await scene.view(BOB))["address"] == "one@example.org"
        token = await scene.request(BOB, "three@example.org")
        assert await scene.verify(stale) == 404, "another address was asked for since"
        assert await scene.verify(token) == 200
        assert (await scene.view(BOB))["address"] == "three@example.org"
        assert await pool.fetchval("SELECT count(*) FROM destinations") == 1
        assert await pool.fetchval("SELECT destination_id FROM destinations") != first
        status, _ = await scene.notify.call("DELETE", EMAIL, EVE)
        assert status == 204
        assert (await scene.view(BOB))["address"] == "three@example.org", "nobody deletes what is another's"
        status, _ = await scene.notify.call("DELETE", EMAIL, BOB)
        assert status == 204
        assert (await scene.view(BOB))["address"] is None
        assert not await pool.fetchval("SELECT count(*) FROM destinations")


async def test_asking_is_limited_for_a_person_and_for_an_address(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool, notify_mail_requests_per_hour_max=2) as scene:
        await scene.request(BOB, "victim@example.org")
        await scene.request(BOB, "victim+1@example.org")
        for person, address in ((BOB, "other@example.org"), (EVE, "Victim+2@example.org")):
            answer = await scene.notify.session.put(
                scene.notify.url + EMAIL,
                json={"address": address},
                headers={"Authorization": f"Bearer {person.token}"},
            )
            assert answer.status == 429
            assert 3_500 < int(answer.headers["Retry-After"]) <= 3_600
            assert (await answer.json())["requests_per_hour_max"] == 2
        await scene.request(EVE, "eve@example.org")
        await pool.execute("UPDATE mail_requests SET requested_at = now() - interval '61 minutes'")
        await scene.request(BOB, "other@example.org")


async def test_asking_at_the_same_moment_is_limited_too(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool, notify_mail_requests_per_hour_max=2) as scene:
        calls = [scene.notify.call("PUT", EMAIL, Person(f"p{n}"), json={"address": "v@example.org"}) for n in range(6)]
        statuses = [status for status, _ in await asyncio.gather(*calls)]
        assert sorted(statuses) == [202, 202, 429, 429, 429, 429]


async def test_a_token_expires(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        token = await scene.request(BOB, "bob@example.org")
        await pool.execute("UPDATE mail_verifications SET expires_at = now() - interval '1 second'")
        assert await scene.verify(token) == 404


WRONG: list[dict[str, object]] = [
    {},
    {"address": None},
    {"address": "nobody"},
    {"address": "bob@example.org\r\nBcc: eve@example.org"},
    {"address": "bob@example.org, eve@example.org"},
    {"address": "x" * 300 + "@example.org"},
    {"address": "bob@localhost"},
    {"address": ["bob@example.org"]},
    {"address": "b\u0000b@example.org"},
]


async def test_what_is_no_address_is_refused(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        for body in WRONG:
            status, problem = await scene.notify.call("PUT", EMAIL, BOB, json=body)
            assert status == 422, body
            assert problem["errors"][0]["field"].startswith("body")
            assert "eve@" not in json.dumps(problem), "what was sent is not repeated"
        status, _ = await scene.notify.call("PUT", EMAIL, json={"address": "bob@example.org"})
        assert status == 401
        assert not await pool.fetchval("SELECT count(*) FROM mail_requests")


async def test_without_a_server_nothing_is_sent_and_that_is_said(start_notify: StartNotify, pool: Pool) -> None:
    notify = await start_notify()
    status, view = await notify.call("GET", EMAIL, BOB)
    assert (status, view["is_available"]) == (200, False)
    for method, path, body in (
        ("PUT", EMAIL, {"address": "b@example.org"}),
        ("POST", f"{EMAIL}/verify", {"token": "x"}),
    ):
        status, problem = await notify.call(method, path, BOB, json=body)
        assert (status, problem["type"]) == (409, "urn:livestream:problem:mail-off")
    # addresses from before, when there was a server: their notices do not pile up
    pairs = await add_mailboxes(pool, [uuid7()], "gone.test:587")
    await queue(pool, await add_fanout(pool), pairs, "gone.test:587")
    await eventually(lambda: is_empty(pool))


async def is_empty(pool: Pool) -> bool:
    return not await pool.fetchval("SELECT count(*) FROM deliveries")


async def test_upkeep_forgets_what_is_over_and_names_the_server_that_is_set(pool: Pool) -> None:
    await add_mailboxes(pool, [uuid7() for _ in range(3)], "before.test:25")
    await pool.execute("INSERT INTO destinations VALUES ($1, $1, 'webpush', 'push.test:443')", uuid7())
    for age in (timedelta(hours=1), timedelta(days=2)):
        await pool.execute(
            "INSERT INTO mail_requests (user_id, address_key, requested_at) VALUES ($1, 'a@b', now() - $2::interval)",
            uuid7(),
            age,
        )
        await pool.execute(
            "INSERT INTO mail_verifications VALUES ($1, $1, 'a@b.test', 'requested', now(), now() - $2::interval)",
            uuid7(),
            age - timedelta(hours=24),
        )
    upkeep = MailUpkeep(pool, provider="now.test:587")
    assert await upkeep.correct()
    await upkeep.clear()
    assert await pool.fetchval("SELECT count(*) FROM mail_requests") == 1
    assert await pool.fetchval("SELECT count(*) FROM mail_verifications") == 1
    rows = await pool.fetch("SELECT provider, count(*) FROM destinations GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("now.test:587", 3), ("push.test:443", 1)]


def test_the_edge_logs_no_query_string() -> None:
    """The token of List-Unsubscribe stands in one, as RFC 8058 wants."""
    config = (Path(__file__).parents[3] / "deploy/nginx.conf").read_text()
    formats = config[config.index("log_format edge") :].split(";")[0]
    assert "$logged_uri" in formats
    assert "map $uri $logged_uri" in config
    assert not {"$request", "$request_uri", "$args", "$query_string"} & set(re.findall(r"\$\w+", formats))
    block = config[config.index("location = /api/notifications/email/unsubscribe") :].split("}")[0]
    assert "error_log stderr crit;" in block, "a failed connection would be logged with the whole request line"
