"""From a stream's start to a browser that reads it: over a push service that takes it, refuses it, or fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from aiohttp import web

from eventbus.bus_memory import MemoryBus
from notify.deliveries.delivery import Delivery, Dropped
from notify.deliveries.settings import DeliverySettings
from notify.outbound import Outbound
from notify.webpush.channel import PushLimits, PushSending, WebPushChannel, WebPushOffChannel
from notify.webpush.keys import decode_base64url, private_key
from notify.webpush.subscriptions import PushSubscriptions
from notify.webpush.vapid import Vapid
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.tokens import Caller
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import Person, RunningNotify, eventually, say, started
from tests.integration.notify.sink import Answerer, Post, Sink, running_sink, status_answer
from tests.unit.notify.browser import Browser
from tests.unit.notify.test_webpush_vapid import claims_of

VAPID_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
ADA = Person("ada")
LIMITS = PushLimits(ttl=timedelta(hours=1), send_seconds_max=5.0, retry_after_default=timedelta(seconds=60))


@pytest.fixture
async def sinks() -> AsyncIterator[Sequence[Sink]]:
    """Two push services."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_sink()) for _ in range(2)]


@pytest.fixture
async def notify(start_notify: StartNotify) -> RunningNotify:
    """A process that sends Web Push, to this machine too; Ada is known to it."""
    running = await start_notify(
        notify_vapid_private_key=VAPID_KEY,
        notify_vapid_subject="mailto:operator@example.org",
        notify_outbound_allow=["127.0.0.0/8"],
        notify_delivery_poll_seconds_max=0.1,
    )
    await running.pool.execute("INSERT INTO people VALUES ($1, $2)", ADA.user_id, ADA.name)
    return running


async def follower(notify: RunningNotify, endpoint: str) -> tuple[Person, Browser]:
    """Somebody who follows Ada and has a browser at an endpoint."""
    person, browser = Person("follower"), Browser()
    await notify.follow(person, ADA)
    status, body = await notify.call("POST", "/api/notifications/push", person, json=browser.subscription(endpoint))
    assert status == 200, body
    return person, browser


async def subscriptions(notify: RunningNotify, person: Person) -> int:
    status, body = await notify.call("GET", "/api/notifications/push", person)
    assert status == 200
    return len(body["items"])


async def outcomes(pool: Pool, stream_id: UUID) -> dict[str, int]:
    rows = await pool.fetch(
        "SELECT outcome, recipients FROM fanout_outcomes WHERE fanout_id = $1 AND channel = 'webpush'", stream_id
    )
    return {row["outcome"]: row["recipients"] for row in rows}


async def test_each_answer_has_its_consequence_and_only_404_and_410_end_a_subscription(
    notify: RunningNotify, bus: MemoryBus, pool: Pool, sinks: Sequence[Sink]
) -> None:
    sink = sinks[0]
    answers = (201, 404, 410, 302, 400, 403)
    followers = {status: await follower(notify, f"{sink.url}/{status}/browser") for status in answers}
    event = started(ADA, title='<b>chess</b>\n"with\u202e everybody"')
    await say(bus, event)
    wanted = {"queued": 6, "delivered": 1, "gone": 2, "refused": 3}

    async def all_settled() -> bool:
        return await outcomes(pool, event.stream_id) == wanted

    await eventually(all_settled)
    assert sink.by_path() == {f"/{status}/browser": 1 for status in answers}, "no redirect was followed"
    [post] = sink.posts_to("/201/browser")
    expect_push(post, followers[201][1], event.stream_id, sink.url)
    left = {status: await subscriptions(notify, person) for status, (person, _) in followers.items()}
    assert left == {201: 1, 404: 0, 410: 0, 302: 1, 400: 1, 403: 1}
    assert await pool.fetchval("SELECT count(*) FROM destinations") == 4


def expect_push(post: Post, browser: Browser, stream_id: UUID, origin: str) -> None:
    """It is what RFC 8030, 8291 and 8292 want, and the browser reads it."""
    assert browser.read(post.body) == {
        "title": "ada is live",
        "body": '<b>chess</b> "with everybody"',
        "url": f"/#/watch/{stream_id}",
        "tag": str(stream_id),
        "icon": "/icon.svg",
    }
    claims = claims_of(post.headers["authorization"])
    assert (claims["aud"], claims["sub"]) == (origin, "mailto:operator@example.org")
    assert 0 < int(str(claims["exp"])) - datetime.now(UTC).timestamp() <= 24 * 3_600
    assert decode_base64url(post.headers["topic"]) == stream_id.bytes
    assert 0 < int(post.headers["ttl"]) <= 3_600
    assert (post.headers["content-encoding"], post.headers["urgency"]) == ("aes128gcm", "high")


async def test_a_failure_is_tried_again_with_the_same_id_and_a_busy_service_is_left_alone(
    notify: RunningNotify, bus: MemoryBus, pool: Pool, sinks: Sequence[Sink]
) -> None:
    failing, busy = sinks
    _, browser = await follower(notify, f"{failing.url}/push/failing")
    await follower(notify, f"{busy.url}/429/busy")
    failing.answers["/push/failing"] = failing_once()
    busy.answers["/429/busy"] = lambda _: status_answer(429, retry_after="60")
    event = started(ADA)
    await say(bus, event)

    async def both_are_put_off() -> bool:
        paused = await pool.fetchval("SELECT count(*) FROM providers WHERE paused_until > now()")
        failed = await pool.fetchval("SELECT count(*) FROM deliveries WHERE attempts = 1 AND due_at > now()")
        return (paused, failed) == (1, 1)

    await eventually(both_are_put_off)
    row = await pool.fetchrow("SELECT provider, paused_until - now() AS left FROM providers WHERE paused_until > now()")
    assert row is not None
    assert row["provider"] == busy.provider
    assert 30 < row["left"].total_seconds() <= 60.5, "the sink says 60 seconds"
    spent = await pool.fetchval("SELECT max(attempts) FROM deliveries WHERE provider = $1", busy.provider)
    assert spent == 0, "being busy is no failure"

    await pool.execute("UPDATE deliveries SET due_at = now() WHERE provider = $1", failing.provider)
    await failing.wait_for(2)
    first, second = (browser.read(post.body) for post in failing.posts)
    assert first == second
    assert first["tag"] == str(event.stream_id)
    assert len({post.body for post in failing.posts}) == 2, "encrypted anew"

    async def delivered() -> bool:
        return (await outcomes(pool, event.stream_id)).get("delivered") == 1

    await eventually(delivered)
    assert len(busy.posts) == 1


def failing_once() -> Answerer:
    """Answers 500, then 201."""
    statuses = iter((500, 201))

    def answer(_post: Post) -> web.Response:
        return status_answer(next(statuses))

    return answer


# --- what is not sent ---


def channel(pool: Pool) -> WebPushChannel:
    return WebPushChannel(pool, Outbound(DeliverySettings()), Vapid(private_key(VAPID_KEY)), LIMITS)


async def subscribed(pool: Pool, person: Person, endpoint: str) -> UUID:
    browser = Browser()
    kept = await PushSubscriptions(pool, per_user_max=20).subscribe(
        Caller(person.user_id, person.name), endpoint=endpoint, p256dh=browser.p256dh, auth=browser.auth
    )
    return kept.destination_id


async def fanout(pool: Pool, state: str = "running") -> UUID:
    fanout_id = uuid7()
    await pool.execute(
        "INSERT INTO fanouts (fanout_id, stream_id, channel_id, channel_name, title, started_at, state)"
        " VALUES ($1, $1, $2, $3, 'chess', now(), $4)",
        fanout_id,
        ADA.user_id,
        ADA.name,
        state,
    )
    return fanout_id


def delivery(number: int, fanout_id: UUID, person: Person, destination_id: UUID) -> Delivery:
    now = datetime.now(UTC)
    expires_at = now + timedelta(hours=1)
    provider = "push.example.net:443"
    return Delivery(
        number, fanout_id, fanout_id, person.user_id, destination_id, provider, 0, now, expires_at, content=None
    )


async def test_what_nobody_wants_any_more_is_dropped(pool: Pool) -> None:
    bob, eve = Person("bob"), Person("eve")
    shared = "https://push.example.net/shared"
    of_bob = await subscribed(pool, bob, shared)
    of_eve = await subscribed(pool, eve, shared)
    running = await fanout(pool)
    prepared = await channel(pool).prepare(
        [
            delivery(1, running, eve, of_eve),
            delivery(2, running, bob, of_bob),
            delivery(3, running, bob, of_eve),
            delivery(4, await fanout(pool, "cancelled"), eve, of_eve),
            delivery(5, await fanout(pool, "ended"), eve, of_eve),
            delivery(6, await fanout(pool, "completed"), eve, of_eve),
            delivery(7, uuid7(), eve, of_eve),
        ]
    )
    assert {number: type(one) for number, one in prepared.items()} == {
        1: PushSending,
        2: Dropped,
        3: Dropped,
        4: Dropped,
        5: Dropped,
        6: PushSending,
        7: Dropped,
    }, "a browser that has moved to Eve is told nothing of Bob's"


async def test_a_batch_is_read_in_two_queries(pool: Pool) -> None:
    people = [Person(f"p{number}") for number in range(20)]
    running = await fanout(pool)
    deliveries = [
        delivery(number, running, one, await subscribed(pool, one, f"https://push.example.net/{number}"))
        for number, one in enumerate(people)
    ]
    async with pool.acquire() as connection:
        asked: list[str] = []
        connection.add_query_logger(lambda record: asked.append(record.query))
        prepared = await channel(connection).prepare(deliveries)  # type: ignore[arg-type]  # a pool of one, to count
    assert len(prepared) == 20
    assert sum("= ANY($1" in query for query in asked) == 2


async def test_without_a_key_what_is_queued_is_dropped_rather_than_kept() -> None:
    one = delivery(1, uuid7(), ADA, uuid7())
    assert await WebPushOffChannel().prepare([one]) == {1: Dropped("Web Push is off")}
