"""Notices by mail: to whom, with which words, after which answers of the server; and nothing waits for them."""

import time
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from eventbus.bus_memory import MemoryBus
from notify import store
from notify.mail.away import enqueue_away_mail
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.mail_scene import MailScene, add_fanout, add_mailboxes, mail_scene, queue
from tests.integration.notify.processes import Person, eventually, fanout_is_complete, say, started

ADA, BOB, CAROL, EVE = (Person(name) for name in ("ada", "bob", "carol", "eve"))
BULK_MAILS = 10_000
UNSUBSCRIBE = "/api/notifications/email/unsubscribe"


def provider_of(scene: MailScene) -> str:
    return f"127.0.0.1:{scene.server.port}"


async def test_a_notice_is_mailed_and_can_be_unsubscribed_with_one_post(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        box = await scene.verified(BOB, "bob@example.org")
        other = await scene.verified(EVE, "eve@example.org")
        for person in (BOB, EVE):
            await pool.execute("INSERT INTO preferences (user_id, email) VALUES ($1, 'each')", person.user_id)
        both = [(BOB.user_id, box), (EVE.user_id, other)]
        notice = await add_fanout(pool, title="<b>chess</b>\r\nBcc: x@example.org")
        await queue(pool, notice, both, provider_of(scene))
        await scene.settled()
        mail = scene.server.to("bob@example.org")[-1]
        assert mail.message["Subject"] == "ada is live: <b>chess</b> Bcc: x@example.org"
        assert mail.message["Bcc"] is None
        assert "&lt;b&gt;chess&lt;/b&gt;" in mail.html
        assert mail.message["Message-ID"] == f"<{notice}.{box}@example.org>"
        assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        url = str(mail.message["List-Unsubscribe"]).strip("<>")
        assert url.startswith(f"http://edge.test{UNSUBSCRIBE}?token=")
        await unsubscribes(scene, url.removeprefix("http://edge.test"), both)


async def unsubscribes(scene: MailScene, path: str, both: list[tuple[UUID, UUID]]) -> None:
    """GET changes nothing; POST without login turns off this person's mail, also what is queued, and no other's."""
    session, url = scene.notify.session, scene.notify.url + path
    await scene.pool.execute("INSERT INTO people VALUES ($1, 'ada') ON CONFLICT DO NOTHING", (ada := uuid7()))
    await scene.pool.execute(
        "INSERT INTO follows (channel_id, follower_id, email) SELECT $1, unnest($2::uuid[]), true",
        ada,
        [u for u, _ in both],
    )
    for method in ("GET", "HEAD"):
        async with session.request(method, url) as answer:
            assert answer.status == 200
            assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert await wanted(scene.pool) == {BOB.user_id: "each", EVE.user_id: "each"}, (
        "a scanner that looks changes nothing"
    )
    async with session.post(url[:-8] + "A" * 8, data={"List-Unsubscribe": "One-Click"}) as answer:
        assert answer.status == 400
    for _ in range(2):
        async with session.post(url, data={"List-Unsubscribe": "One-Click"}, allow_redirects=False) as answer:
            assert answer.status == 200
    assert await wanted(scene.pool) == {BOB.user_id: "off", EVE.user_id: "each"}
    follows = await scene.pool.fetch("SELECT follower_id FROM follows WHERE email")
    assert [row["follower_id"] for row in follows] == [EVE.user_id], "also where a channel was an exception"
    sent = len(scene.server.to("bob@example.org"))
    await scene.pool.execute(
        "UPDATE mailboxes SET unsubscribed_at = now() + interval '1 hour' WHERE unsubscribed_at IS NOT NULL"
    )
    await queue(scene.pool, await add_fanout(scene.pool), both, provider_of(scene))
    await scene.settled()
    assert len(scene.server.to("bob@example.org")) == sent, "what was queued before is not sent"
    assert len(scene.server.to("eve@example.org")) == 3


async def wanted(pool: Pool) -> Mapping[UUID, str]:
    rows = await pool.fetch("SELECT user_id, email FROM preferences")
    return {row["user_id"]: row["email"] for row in rows}


async def test_a_follower_who_asked_for_it_hears_by_mail_of_a_stream(
    start_notify: StartNotify, pool: Pool, bus: MemoryBus
) -> None:
    async with mail_scene(start_notify, pool) as scene:
        for person, email in ((BOB, "each"), (EVE, "off"), (CAROL, "digest")):
            await scene.verified(person, f"{person.name}@example.org")
            status, body = await scene.notify.call(
                "PATCH", "/api/notifications/preferences", person, json={"email": email}
            )
            assert status == 200, body
        await store.keep_person(pool, ADA.user_id, ADA.name)
        for person in (BOB, EVE, CAROL):
            await scene.notify.follow(person, ADA)
        scene.server.mails.clear()
        await say(bus, event := started(ADA, title="chess & more"))
        await eventually(lambda: bool(scene.server.mails))
        await eventually(lambda: fanout_is_complete(pool, event.stream_id))
        await scene.settled()
        [mail] = scene.server.mails
        assert mail.recipients == ("bob@example.org",)
        assert mail.message["Subject"] == "ada is live: chess & more"
        assert f"http://edge.test/#/watch/{event.stream_id}" in mail.text


async def test_what_nobody_wants_any_more_is_dropped(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        pairs = await add_mailboxes(pool, [uuid7()], provider_of(scene))
        for state in ("cancelled", "ended"):
            await queue(pool, await add_fanout(pool, state=state), pairs, provider_of(scene))
        await queue(pool, uuid7(), pairs, provider_of(scene))  # there is no such notice
        await queue(pool, await add_fanout(pool), [(pairs[0][0], uuid7())], provider_of(scene))  # nor such a mailbox
        await scene.settled()
        assert scene.server.mails == []
        assert not await pool.fetchval("SELECT count(*) FROM dead_deliveries")


async def test_a_mailbox_that_does_not_exist_is_given_up(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool, notify_mail_bounces_max=3) as scene:
        gone, kept = await add_mailboxes(pool, [uuid7(), uuid7()], provider_of(scene))
        scene.server.to_recipient["1@bulk.test"] = "550 5.1.1 <1@bulk.test> no such user"
        for number in range(3):
            await queue(pool, await add_fanout(pool), [gone, kept], provider_of(scene))
            await scene.settled()
            left = await pool.fetchval("SELECT count(*) FROM mailboxes")
            assert left == (1 if number == 2 else 2)
        assert len(scene.server.mails) == 3, "the other one got everything"
        assert await pool.fetchval("SELECT destination_id FROM destinations") == kept[1]
        row = await pool.fetchrow("SELECT user_id, address, state FROM mail_verifications")
        assert row is not None
        assert tuple(row) == (gone[0], "1@bulk.test", "bounced"), "the person can see why"


async def test_mail_that_arrives_forgets_the_bounces_before(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool, notify_mail_bounces_max=2) as scene:
        pairs = await add_mailboxes(pool, [uuid7()], provider_of(scene))
        for answer in ("550 5.1.1 unknown", "", "550 5.1.1 unknown"):
            scene.server.to_recipient["1@bulk.test"] = answer
            await queue(pool, await add_fanout(pool), pairs, provider_of(scene))
            await scene.settled()
        assert await pool.fetchval("SELECT bounces FROM mailboxes") == 1


async def test_greylisting_waits_and_holds_up_nobody(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        pairs = await add_mailboxes(pool, [uuid7() for _ in range(30)], provider_of(scene))
        for number in range(1, 16):
            scene.server.to_recipient[f"{number}@bulk.test"] = "451 4.7.1 greylisted, come back later"
        await queue(pool, await add_fanout(pool), pairs, provider_of(scene))
        await eventually(lambda: len(scene.server.mails) == 15)
        await eventually(lambda: has_tried(pool, 15))
        assert not await pool.fetchval("SELECT count(*) FROM providers"), "one mailbox says nothing of the others"
        least = await pool.fetchval("SELECT min(due_at) - now() FROM deliveries WHERE attempts = 1")
        assert timedelta(minutes=4) < least < timedelta(minutes=8)


async def has_tried(pool: Pool, deliveries: int) -> bool:
    found = await pool.fetchval("SELECT count(*) FROM deliveries WHERE attempts = 1 AND lease IS NULL")
    return bool(found == deliveries)


async def test_a_server_that_asks_for_a_pause_gets_it(start_notify: StartNotify, pool: Pool) -> None:
    """And the lane that somebody waits for goes on: it is another queue at most servers, and it is little."""
    async with mail_scene(start_notify, pool) as scene:
        pairs = await add_mailboxes(pool, [uuid7() for _ in range(5)], provider_of(scene))
        for number in range(1, 6):
            scene.server.to_recipient[f"{number}@bulk.test"] = "421 4.7.0 too many messages"
        await queue(pool, await add_fanout(pool), pairs, provider_of(scene))
        await eventually(lambda: is_paused(pool, provider_of(scene)))
        assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE attempts = 0") == 5, "it costs no attempt"
        await scene.verified(BOB, "bob@example.org")


async def is_paused(pool: Pool, provider: str) -> bool:
    return bool(await pool.fetchval("SELECT paused_until > now() FROM providers WHERE provider = $1", provider))


async def test_a_verification_does_not_wait_behind_ten_thousand_notices(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        begun: list[str] = []

        def seconds_for(address: str) -> float:
            begun.append(address)
            return 30.0 if address.endswith("@bulk.test") else 0.0

        scene.server.seconds_for = seconds_for
        pairs = await add_mailboxes(pool, [uuid7() for _ in range(BULK_MAILS)], provider_of(scene))
        await queue(pool, await add_fanout(pool), pairs, provider_of(scene))
        await eventually(lambda: len(begun) >= 4)  # every connection for notices waits for the server
        began = time.monotonic()
        await scene.request(BOB, "bob@example.org")
        assert time.monotonic() - began < 15.0, "each notice waits for 30 s"
        assert await pool.fetchval("SELECT count(*) FROM deliveries") > BULK_MAILS * 0.9, "they were all still waiting"
        await scene.notify.stop()


async def test_who_has_been_away_is_told_that_notices_have_stopped(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        asked, off, no_address = uuid7(), uuid7(), uuid7()
        await add_mailboxes(pool, [asked, off], provider_of(scene))
        await pool.execute("INSERT INTO preferences (user_id, email) VALUES ($1, 'digest'), ($2, 'off')", asked, off)
        await pool.execute("INSERT INTO people VALUES ($1, 'p')", no_address)
        await pool.execute("UPDATE people SET away_since = now()")
        async with pool.acquire() as connection, connection.transaction():
            await enqueue_away_mail(connection, [asked, off, no_address])
        await scene.settled()
        [mail] = scene.server.mails
        assert mail.recipients == ("1@bulk.test",)
        assert mail.message["Subject"] == "We have stopped sending you notices"
        assert "unsubscribe=" in mail.text


async def test_two_processes_send_each_mail_once(start_notify: StartNotify, pool: Pool) -> None:
    async with mail_scene(start_notify, pool) as scene:
        port = scene.server.port
        second = await start_notify(
            notify_smtp_host="127.0.0.1",
            notify_smtp_port=port,
            notify_smtp_tls="none",
            notify_smtp_from="n@example.org",
        )
        pairs = await add_mailboxes(pool, [uuid7() for _ in range(300)], provider_of(scene))
        for _ in range(2):
            await queue(pool, await add_fanout(pool), pairs, provider_of(scene))
        await scene.settled()
        sent = [mail.message["Message-ID"] for mail in scene.server.mails]
        assert len(sent) == len({str(one) for one in sent}) == 600
        await second.stop()
