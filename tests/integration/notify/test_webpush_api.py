"""Subscribing browsers: each route with its owner, with somebody else, and without login; and input of all kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from notify.deliveries.settings import DeliverySettings
from notify.outbound import Outbound
from notify.webpush.api import WebPushApi
from notify.webpush.keys import encode_base64url, private_key
from notify.webpush.subscriptions import PushSubscriptions
from notify.webpush.vapid import Vapid
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.settings import HttpSettings
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.integration.notify.processes import NamesInTokens, Person
from tests.unit.notify.browser import Browser

ADA, BOB = Person("ada"), Person("bob")
PUSH = "/api/notifications/push"
SUBSCRIPTIONS_MAX = 3
VAPID = Vapid(private_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
# 192.0.2.0/24 and example names are never connected to here: subscribing looks a name up and sends nothing.
ENDPOINT = "https://127.0.0.1:8443/wpush"


def api(pool: Pool, vapid: Vapid | None, *, allow: str | None = "127.0.0.0/8") -> WebPushApi:
    settings = DeliverySettings.model_validate({"notify_outbound_allow": [allow] if allow else []})
    return WebPushApi(PushSubscriptions(pool, per_user_max=SUBSCRIPTIONS_MAX), vapid, Outbound(settings))


@pytest.fixture
async def client(pool: Pool) -> AsyncIterator[HeldClient]:
    """The API of an installation that may send to this machine."""
    apis = [api(pool, VAPID)]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=NamesInTokens()), apis) as held:
        yield held


@pytest.fixture
async def public_client(pool: Pool) -> AsyncIterator[HeldClient]:
    """The API as it is deployed."""
    apis = [api(pool, VAPID, allow=None)]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=NamesInTokens()), apis) as held:
        yield held


@pytest.fixture
async def off_client(pool: Pool) -> AsyncIterator[HeldClient]:
    """The API of an installation without a key."""
    apis = [api(pool, None)]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=NamesInTokens()), apis) as held:
        yield held


async def subscribe(client: HeldClient, person: Person, endpoint: str, browser: Browser | None = None) -> Answer:
    body = (browser or Browser()).subscription(endpoint)
    return await client.request("POST", PUSH, token=person.token, json=body)


async def ids_of(client: HeldClient, person: Person) -> list[str]:
    answer = await client.request("GET", PUSH, token=person.token)
    assert answer.status == 200
    return [item["subscription_id"] for item in answer.body["items"]]


async def test_the_key_is_for_everybody(client: HeldClient) -> None:
    answer = await client.request("GET", f"{PUSH}/key")
    assert (answer.status, answer.body) == (200, {"public_key": VAPID.public_key})


async def test_a_browser_is_a_destination_of_its_person(client: HeldClient, pool: Pool) -> None:
    browser = Browser()
    answer = await subscribe(client, ADA, f"{ENDPOINT}/1", browser)
    assert answer.status == 200
    assert answer.body["provider"] == "127.0.0.1:8443"
    assert "endpoint" not in answer.body
    row = await pool.fetchrow("SELECT * FROM push_subscriptions JOIN destinations USING (destination_id, user_id)")
    assert row is not None
    assert row["destination_id"] == UUID(answer.body["subscription_id"])
    assert (row["user_id"], row["channel"], row["provider"]) == (ADA.user_id, "webpush", "127.0.0.1:8443")
    assert (row["endpoint"], row["p256dh"], row["auth"]) == (f"{ENDPOINT}/1", browser.p256dh, browser.auth)


async def test_the_same_again_renews_it(client: HeldClient, pool: Pool) -> None:
    first = await subscribe(client, ADA, f"{ENDPOINT}/1")
    browser = Browser()
    again = await subscribe(client, ADA, f"{ENDPOINT}/1", browser)
    assert again.body["subscription_id"] == first.body["subscription_id"]
    assert again.body["renewed_at"] > first.body["renewed_at"]
    assert await pool.fetchval("SELECT p256dh FROM push_subscriptions") == browser.p256dh
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 1


async def test_a_browser_goes_with_who_logs_in_there_and_nothing_queued_for_the_other_follows(
    client: HeldClient, pool: Pool
) -> None:
    of_ada = await subscribe(client, ADA, f"{ENDPOINT}/shared")
    of_bob = await subscribe(client, BOB, f"{ENDPOINT}/shared")
    assert of_bob.body["subscription_id"] != of_ada.body["subscription_id"]
    assert await ids_of(client, ADA) == []
    assert await ids_of(client, BOB) == [of_bob.body["subscription_id"]]
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 1


async def test_many_at_once_with_one_endpoint_make_one(client: HeldClient, pool: Pool) -> None:
    people = [ADA, BOB] * 5
    answers = await asyncio.gather(*(subscribe(client, one, f"{ENDPOINT}/shared") for one in people))
    assert {answer.status for answer in answers} == {200}
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 1
    assert await pool.fetchval("SELECT count(*) FROM push_subscriptions") == 1


async def test_a_person_has_so_many_browsers_and_no_more(client: HeldClient) -> None:
    answers = await asyncio.gather(*(subscribe(client, ADA, f"{ENDPOINT}/{n}") for n in range(SUBSCRIPTIONS_MAX + 3)))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 3
    assert {(answer.status, answer.problem) for answer in refused} == {(409, "too-many-push-subscriptions")}
    assert refused[0].body["subscriptions_max"] == SUBSCRIPTIONS_MAX
    kept = await ids_of(client, ADA)
    assert len(kept) == SUBSCRIPTIONS_MAX
    await client.request("DELETE", f"{PUSH}/{kept[0]}", token=ADA.token)
    assert (await subscribe(client, ADA, f"{ENDPOINT}/again")).status == 200
    assert (await subscribe(client, ADA, f"{ENDPOINT}/again")).status == 200, "renewing is not one more"


async def test_only_its_person_sees_and_forgets_a_subscription(client: HeldClient) -> None:
    subscription_id = (await subscribe(client, ADA, f"{ENDPOINT}/1")).body["subscription_id"]
    path = f"{PUSH}/{subscription_id}"
    assert await ids_of(client, BOB) == []
    for_bob = await client.request("DELETE", path, token=BOB.token)
    assert (for_bob.status, for_bob.problem) == (404, "push-subscription-not-found")
    assert await ids_of(client, ADA) == [subscription_id]
    assert (await client.request("DELETE", path, token=ADA.token)).status == 204
    assert (await client.request("DELETE", path, token=ADA.token)).status == 404
    assert await ids_of(client, ADA) == []


async def test_destinations_of_other_channels_are_not_forgotten_here(client: HeldClient, pool: Pool) -> None:
    mailbox = uuid7()
    await pool.execute("INSERT INTO destinations VALUES ($1, $2, 'email', 'mail:25')", mailbox, ADA.user_id)
    assert (await client.request("DELETE", f"{PUSH}/{mailbox}", token=ADA.token)).status == 404
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 1


async def test_nobody_without_login(client: HeldClient) -> None:
    assert (await client.request("POST", PUSH, json=Browser().subscription(f"{ENDPOINT}/1"))).status == 401
    assert (await client.request("GET", PUSH)).status == 401
    assert (await client.request("DELETE", f"{PUSH}/{uuid7()}")).status == 401


async def test_without_a_key_it_says_that_it_is_off(off_client: HeldClient) -> None:
    for answer in (
        await off_client.request("GET", f"{PUSH}/key"),
        await subscribe(off_client, ADA, f"{ENDPOINT}/1"),
    ):
        assert (answer.status, answer.problem) == (404, "web-push-off")
        assert "LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY" in answer.body["detail"]
    assert await ids_of(off_client, ADA) == []


NO_ENDPOINTS = [
    "",
    "not a url",
    "ftp://push.example.com/1",
    "javascript:alert(1)",
    "https://",
    "https://user:password@push.example.com/1",
    "https://push.example.com/1#fragment",
    "https://push.example.com/" + "x" * 2_000,
    "https://push.example.com/\u00e4",
    "https://push.example.com/\x01",
    "https://push.example.com:25/1",
    "https://push.example.com:99999/1",
    "http://push.example.com/1",
    "https://127.0.0.1/1",
    "https://127.1/1",
    "https://2130706433/1",
    "https://0x7f000001/1",
    "https://0177.0.0.1/1",
    "https://[::1]/1",
    "https://[::ffff:127.0.0.1]/1",
    "https://localhost/1",
    "https://10.0.0.1/1",
    "https://169.254.169.254/latest/meta-data",
    "https://[fe80::1]/1",
]


async def test_an_endpoint_that_is_none_is_refused_with_its_field(public_client: HeldClient) -> None:
    for endpoint in NO_ENDPOINTS:
        answer = await subscribe(public_client, ADA, endpoint)
        assert (answer.status, answer.problem) == (422, "validation-failed"), endpoint
        [error] = answer.body["errors"]
        assert error["field"] == "body.endpoint", (endpoint, error)
        assert error["message"]
    assert await ids_of(public_client, ADA) == []


def text_of(octets: bytes) -> str:
    return encode_base64url(octets)


NO_KEYS = [
    ("p256dh", "", "65 bytes"),
    ("p256dh", text_of(b"\x04" + b"\x01" * 64), "not a point of P-256"),
    ("p256dh", text_of(b"\x02" + b"\x01" * 32), "65 bytes"),
    ("p256dh", "!" * 87, "base64url"),
    ("p256dh", "A" * 101, "at most 100 characters"),
    ("auth", "", "16 bytes"),
    ("auth", text_of(b"a" * 15), "16 bytes"),
    ("auth", text_of(b"a" * 17), "16 bytes"),
    ("auth", "+/" * 11, "base64url"),
]


async def test_a_key_that_is_none_is_refused_with_its_field(client: HeldClient) -> None:
    for name, value, said in NO_KEYS:
        body = Browser().subscription(f"{ENDPOINT}/1")
        body["keys"][name] = value
        answer = await client.request("POST", PUSH, token=ADA.token, json=body)
        assert (answer.status, answer.problem) == (422, "validation-failed"), (name, value)
        [error] = answer.body["errors"]
        assert error["field"] == f"body.keys.{name}"
        assert said in error["message"]
        assert not value or value not in error["message"]


SHAPES: list[Callable[[dict[str, Any]], object]] = [
    lambda body: body.pop("keys"),
    lambda body: body["keys"].pop("auth"),
    lambda body: body.update(endpoint=5),
    lambda body: body.update(endpoint=["https://push.example.com/1"]),
    lambda body: body.update(keys="p256dh"),
    lambda body: body.update(expirationTime="soon"),
]


async def test_a_body_of_another_shape_is_refused(client: HeldClient) -> None:
    for break_it in SHAPES:
        body = Browser().subscription(f"{ENDPOINT}/1")
        break_it(body)
        answer = await client.request("POST", PUSH, token=ADA.token, json=body)
        assert (answer.status, answer.problem) == (422, "validation-failed"), body


async def test_padding_and_an_end_of_time_are_taken_as_browsers_give_them(client: HeldClient) -> None:
    body = Browser().subscription(f"{ENDPOINT}/1")
    body["keys"]["auth"] += "=="
    body["expirationTime"] = 1_893_456_000_000
    assert (await client.request("POST", PUSH, token=ADA.token, json=body)).status == 200
