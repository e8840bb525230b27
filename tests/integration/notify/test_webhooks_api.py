"""People's webhooks over HTTP: what may be registered, who may touch it, and that no secret is ever shown again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from eventbus.bus_memory import MemoryBus
from notify.webhooks.api import WebhooksApi
from notify.webhooks.messages_api import WebhookMessagesApi
from runtime.endpoints import Endpoint, endpoints_of
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.processes import Person, eventually
from tests.integration.notify.webhook_scene import Webhooks, new_bus, running_webhooks, settings_of

# nothing listens there, and nothing leaves this machine
URL = "https://127.8.0.7/services/T00000000/B00000000/very-secret-token"
ADA, EVE = Person("ada"), Person("eve")
ROUTES = [one for api in (WebhooksApi, WebhookMessagesApi) for one in endpoints_of(api)]
BODIES: dict[str, dict[str, Any]] = {
    "create_webhook": {"url": "https://127.9.0.9/hook"},
    "change_webhook": {"description": "mine now"},
    "replay_failed": {"since": "2026-01-01T00:00:00Z"},
}

pytestmark = pytest.mark.engines


@pytest.fixture
async def bus() -> MemoryBus:
    return new_bus()


@pytest.fixture
async def webhooks(database: Database, pool: Pool, bus: MemoryBus) -> AsyncIterator[Webhooks]:
    settings = settings_of(
        database, notify_webhooks_per_user_max=3, notify_outbound_allow=["127.8.0.0/16", "127.9.0.0/16"]
    )
    async with running_webhooks(settings, pool, bus) as running:
        yield running


async def call(webhooks: Webhooks, route: Endpoint, person: Person | None, **ids: object) -> tuple[int, Any]:
    path = route.path.format(**ids)
    return await webhooks.call(route.method, path, person, json=BODIES.get(route.name) if route.body_model else None)


async def test_a_webhook_is_made_shown_changed_and_deleted(webhooks: Webhooks, pool: Pool) -> None:
    made = await webhooks.create(ADA, URL, description=" my bot ")
    assert made["secret"].startswith("whsec_")
    assert made["url"] == "https://127.8.0.7/…oken"
    assert made["events"] == ["stream.*", "recording.*", "follow.*"]
    assert (made["description"], made["preset"], made["disabled_at"]) == ("my bot", None, None)

    changed = {"events": ["follow.created"], "url": "https://127.9.0.9:8443/short", "description": "other"}
    path = f"/api/webhooks/{made['webhook_id']}"
    status, body = await webhooks.call("PATCH", path, ADA, json=changed)
    assert status == 200
    assert (body["events"], body["url"]) == (["follow.created"], "https://127.9.0.9:8443/…")
    assert body == await webhooks.show(ADA, made)
    assert "secret" not in body
    assert await pool.fetchval("SELECT provider FROM destinations") == "127.9.0.9:8443"

    assert (await webhooks.call("DELETE", path, ADA))[0] == 204
    assert (await webhooks.call("GET", path, ADA))[0] == 404
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 0
    assert await pool.fetchval("SELECT count(*) FROM webhook_endpoints") == 0


async def test_there_are_so_many_for_each_person_also_at_once_and_pages_of_them(webhooks: Webhooks) -> None:
    made = await asyncio.gather(*(webhooks.call("POST", "/api/webhooks", ADA, json={"url": URL}) for _ in range(6)))
    assert sorted(status for status, _ in made) == [201, 201, 201, 409, 409, 409]
    assert {body["type"] for status, body in made if status == 409} == {"urn:livestream:problem:too-many-webhooks"}
    await webhooks.create(EVE, URL)
    found, cursor = [], ""
    while True:
        status, page = await webhooks.call("GET", f"/api/webhooks?limit=2{cursor}", ADA)
        assert status == 200
        found += [one["webhook_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(found) == 3
    assert found == sorted(found, reverse=True)


async def test_nobody_reaches_what_is_anothers_on_any_route(webhooks: Webhooks, pool: Pool) -> None:
    made = await webhooks.create(ADA, URL)
    status, test = await webhooks.call("POST", f"/api/webhooks/{made['webhook_id']}/test", ADA)
    assert status == 202
    await webhooks.settled(ADA, made, UUID(test["message_id"]))
    await eventually(lambda: is_put_off(pool))
    await pool.execute("UPDATE webhook_messages SET state = 'failed'")
    before = await webhooks.show(ADA, made)
    ids = {"webhook_id": made["webhook_id"], "message_id": test["message_id"]}

    for route in ROUTES:
        assert (await call(webhooks, route, None, **ids))[0] == 401, route.name
        status, body = await call(webhooks, route, EVE, **ids)
        if "{webhook_id}" in route.path:
            assert (status, body["type"]) == (404, "urn:livestream:problem:webhook-not-found"), route.name
        else:
            assert status in {200, 201}, route.name
            assert made["webhook_id"] not in str(body)
        assert await webhooks.show(ADA, made) == before, route.name
        assert await pool.fetchval("SELECT state FROM webhook_messages") == "failed", route.name


async def is_put_off(pool: Pool) -> bool:
    """Put the next attempt off for long, once this one is settled."""
    done = await pool.execute("UPDATE deliveries SET due_at = now() + interval '1 day' WHERE lease IS NULL")
    return done == "UPDATE 1"


BAD_URLS = [
    "http://198.52.100.7/",
    "ftp://127.8.0.7/",
    "https://",
    "not a url",
    "https://user:password@127.8.0.7/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://localhost/",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00::1]/",
    "https://127.8.0.7/" + "x" * 2_048,
    "https://127.8.0.7/\u0000",
]


async def test_urls_that_are_none_or_private_are_refused_by_name(webhooks: Webhooks) -> None:
    made = await webhooks.create(ADA, URL)
    for url in BAD_URLS:
        status, body = await webhooks.call("POST", "/api/webhooks", ADA, json={"url": url})
        assert status == 422, (url, body)
        assert [one["field"] for one in body["errors"]] == ["body.url"]
        assert body["errors"][0]["message"]
        status, body = await webhooks.call("PATCH", f"/api/webhooks/{made['webhook_id']}", ADA, json={"url": url})
        assert (status, body["errors"][0]["field"]) == (422, "body.url")


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({}, "body.url"),
    ({"url": URL, "events": []}, "body.events"),
    ({"url": URL, "events": ["account.registered"]}, "body.events"),
    ({"url": URL, "events": ["*"]}, "body.events"),
    ({"url": URL, "events": ["stream.*"] * 50}, "body.events"),
    ({"url": URL, "description": "x" * 201}, "body.description"),
    ({"url": URL, "description": "a\u0000b"}, "body.description"),
    ({"url": URL, "preset": "irc"}, "body.preset"),
    ({"url": URL, "preset": "discord", "events": ["stream.*"]}, "body.events"),
    ({"url": URL, "preset": "telegram"}, "body.url"),
    ({"url": f"{URL}/send/m.room.message", "preset": "matrix"}, "body.authorization"),
    ({"url": URL, "authorization": "Bearer a\r\nX-Evil: 1"}, "body.authorization"),
    ({"url": URL, "authorization": "x" * 1_025}, "body.authorization"),
    ({"url": URL, "secret": "whsec_mine"}, "body.secret"),
]


async def test_a_field_that_is_wrong_is_named(webhooks: Webhooks) -> None:
    for body, field in BAD_FIELDS:
        status, answer = await webhooks.call("POST", "/api/webhooks", ADA, json=body)
        assert status == 422, (body, answer)
        assert field in [one["field"] for one in answer["errors"]]
        assert "very-secret-token" not in str(answer)


async def test_secrets_are_shown_once_and_are_neither_in_logs_nor_readable_in_the_database(
    webhooks: Webhooks, pool: Pool
) -> None:
    with capture_logs() as lines:
        made = await webhooks.create(ADA, URL, authorization="Bearer another-secret")
        path = f"/api/webhooks/{made['webhook_id']}"
        status, rotated = await webhooks.call("POST", f"{path}/rotate-secret", ADA)
        assert status == 200
        assert rotated["secret"].startswith("whsec_")
        assert rotated["secret"] != made["secret"]
        answers = [
            await webhooks.show(ADA, made),
            (await webhooks.call("GET", "/api/webhooks", ADA))[1],
            (await webhooks.call("PATCH", path, ADA, json={"description": "x"}))[1],
            (await webhooks.call("POST", f"{path}/enable", ADA))[1],
        ]
    rows = await pool.fetch("SELECT * FROM webhook_endpoints, destinations, delivery_queues, webhook_messages")
    rows += await pool.fetch("SELECT * FROM webhook_endpoints")
    for secret in (made["secret"], rotated["secret"], "very-secret-token", "another-secret"):
        for place in (answers, lines, rows):
            assert secret not in str(place)
    assert answers[0]["has_authorization"]


async def test_without_a_secret_to_seal_with_there_are_none(database: Database, pool: Pool, bus: MemoryBus) -> None:
    async with running_webhooks(settings_of(database, notify_sealing_secret=None), pool, bus) as off:
        for route in ROUTES:
            status, body = await call(off, route, ADA, webhook_id=uuid7(), message_id=uuid7())
            assert (status, body["type"]) == (503, "urn:livestream:problem:webhooks-off")
            assert "LIVESTREAM_NOTIFY_SEALING_SECRET" in body["detail"]


async def test_testing_is_limited(webhooks: Webhooks) -> None:
    made = await webhooks.create(ADA, URL)
    path = f"/api/webhooks/{made['webhook_id']}/test"
    answers = [await webhooks.call("POST", path, ADA) for _ in range(11)]
    assert [status for status, _ in answers] == [202] * 10 + [429]
