"""Events at webhooks: signed, repeated until they arrive, logged, replayed; and receivers that mean no good."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from standardwebhooks.webhooks import WebhookVerificationError

from eventbus.bus_memory import MemoryBus
from events import ChatMessageSent, Envelope, FollowCreated, RecordingPublished, SaidAs
from notify.webhooks.channel import SCHEDULE
from notify.webhooks.sweeper import WebhookLogSweeper
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.processes import Person, eventually, started
from tests.integration.notify.sink import Post, Sink, running_sink, status_answer
from tests.integration.notify.webhook_scene import (
    Webhooks,
    make_due,
    new_bus,
    running_webhooks,
    settings_of,
    verified,
)

ADA, EVE = Person("ada"), Person("eve")

pytestmark = pytest.mark.engines


@pytest.fixture
async def bus() -> MemoryBus:
    return new_bus()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


@pytest.fixture
async def webhooks(database: Database, pool: Pool, bus: MemoryBus) -> AsyncIterator[Webhooks]:
    async with running_webhooks(settings_of(database), pool, bus) as running:
        yield running


def followed(channel: Person) -> FollowCreated:
    return FollowCreated(
        channel_id=channel.user_id, follower_id=uuid7(), follower_name="bob", followed_at=datetime.now(UTC)
    )


def published(channel: Person, stream_id: UUID) -> RecordingPublished:
    return RecordingPublished(
        stream_id=stream_id,
        channel_id=channel.user_id,
        duration_seconds=60.0,
        playback_path=f"/recordings/{stream_id}/master.m3u8",
        published_at=datetime.now(UTC),
    )


async def test_an_event_arrives_signed_and_once_and_is_logged(webhooks: Webhooks, sink: Sink) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/200/hook")
    envelope = Envelope(id=uuid7(), source="test", time=datetime.now(UTC), event=started(ADA, title="<b>chess</b>"))
    await webhooks.repeat([envelope, envelope])
    await sink.wait_for(1)
    await webhooks.repeat([envelope])
    [marker] = await webhooks.say(started(ADA))
    await sink.wait_for(2)

    first, second = sink.posts
    payload = verified(first, made["secret"])
    assert (payload["type"], payload["data"]["title"]) == ("stream.started", "<b>chess</b>")
    assert first.headers["webhook-id"] == str(envelope.id)
    assert second.headers["webhook-id"] == str(marker), "the repetition was posted"

    found = await webhooks.settled(ADA, made, envelope.id)
    assert (found["state"], found["attempts"], found["body"]) == ("delivered", 1, payload)
    [attempt] = found["attempts_log"]
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert attempt["seconds"] > 0


async def test_only_what_was_asked_for_and_only_of_ones_own_channel(webhooks: Webhooks, sink: Sink) -> None:
    await webhooks.create(ADA, f"{sink.url}/200/follows", events=["follow.*"])
    await webhooks.create(ADA, f"{sink.url}/200/exact", events=["recording.published", "stream.started"])
    await webhooks.create(EVE, f"{sink.url}/200/eve")
    start = started(ADA)
    await webhooks.say(followed(ADA), start, published(ADA, start.stream_id))
    await sink.wait_for(3)
    types = [(post.path, json.loads(post.body)["type"]) for post in sink.posts]
    assert sorted(types) == [
        ("/200/exact", "recording.published"),
        ("/200/exact", "stream.started"),
        ("/200/follows", "follow.created"),
    ]


async def test_what_failed_is_tried_again_under_its_id_and_can_be_replayed(
    webhooks: Webhooks, sink: Sink, pool: Pool
) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/500/hook")
    [message_id] = await webhooks.say(started(ADA))
    path = f"/api/webhooks/{made['webhook_id']}/messages/{message_id}"
    await webhooks.settled(ADA, made, message_id)
    assert (await webhooks.call("POST", f"{path}/replay", ADA))[0] == 409
    while (found := await webhooks.settled(ADA, made, message_id))["state"] == "pending":

        async def is_tried_again(before: int = found["attempts"]) -> bool:
            await make_due(pool)  # again, for what was just being settled
            return bool((await webhooks.message(ADA, made, str(message_id)))["attempts"] > before)

        await eventually(is_tried_again)
    assert (found["state"], found["reason"], found["attempts"]) == ("failed", "answered 500", len(SCHEDULE.waits) + 1)
    assert [one["status"] for one in found["attempts_log"]] == [500] * (len(SCHEDULE.waits) + 1)
    assert (await webhooks.show(ADA, made))["failing_since"] is not None
    assert [one["state"] for one in await webhooks.messages(ADA, made, "?state=failed")] == ["failed"]
    assert await webhooks.messages(ADA, made, "?state=delivered") == []

    sink.answers["/500/hook"] = lambda _: status_answer(204)
    assert await webhooks.call("POST", f"{path}/replay", ADA) == (202, {"messages": 1})

    async def is_delivered() -> bool:
        return bool((await webhooks.message(ADA, made, str(message_id)))["state"] == "delivered")

    await eventually(is_delivered)
    assert {post.headers["webhook-id"] for post in sink.posts} == {str(message_id)}
    assert len({post.body for post in sink.posts}) == 1
    assert (await webhooks.show(ADA, made))["failing_since"] is None
    verified(sink.posts[-1], made["secret"])


async def test_all_that_failed_since_a_time_is_replayed(webhooks: Webhooks, sink: Sink, pool: Pool) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/200/hook")
    message_ids = await webhooks.say(*(followed(ADA) for _ in range(3)))
    await sink.wait_for(3)
    for message_id in message_ids:
        await webhooks.settled(ADA, made, message_id)
    await pool.execute("UPDATE webhook_messages SET state = 'failed'")
    await pool.execute(
        "UPDATE webhook_messages SET created_at = now() - interval '2 days' WHERE message_id = $1", message_ids[0]
    )
    path, since = f"/api/webhooks/{made['webhook_id']}/replay", (datetime.now(UTC) - timedelta(days=365)).isoformat()
    recent = await pool.fetchval("SELECT min(created_at) FROM webhook_messages WHERE message_id = $1", message_ids[1])
    assert await webhooks.call("POST", path, ADA, json={"since": recent.isoformat()}) == (202, {"messages": 2})
    await sink.wait_for(5)
    assert await webhooks.call("POST", path, ADA, json={"since": since}) == (202, {"messages": 1})
    await sink.wait_for(6)
    for message_id in message_ids:
        assert len([post for post in sink.posts if post.headers["webhook-id"] == str(message_id)]) == 2
    assert (await webhooks.call("POST", path, ADA, json={"since": "yesterday"}))[0] == 422


@pytest.fixture
async def impatient(database: Database, pool: Pool, bus: MemoryBus) -> AsyncIterator[Webhooks]:
    """Waits for no answer for longer than 2.7 seconds."""
    async with running_webhooks(settings_of(database, notify_delivery_send_seconds_max=3.0), pool, bus) as running:
        yield running


async def test_receivers_that_mean_no_good_are_failed_attempts_and_cost_little(impatient: Webhooks, sink: Sink) -> None:
    reasons = {"302": "redirect", "drip": "within", "silent": "within", "headers": "HTTP", "large": ""}
    made = {word: await impatient.create(ADA, f"{sink.url}/{word}/very-secret-path-of-a-webhook") for word in reasons}
    [message_id] = await impatient.say(started(ADA))
    for word, reason in reasons.items():
        found = await impatient.settled(ADA, made[word], message_id)
        attempt = found["attempts_log"][-1]  # the first
        assert attempt["seconds"] < 10
        assert "very-secret-path" not in str(found)
        if word == "large":  # it said 200: that is what counts, and the rest is not read
            assert (found["state"], attempt["excerpt"]) == ("delivered", "x" * 1_024)
        else:
            assert found["state"] == "pending"
            assert reason in attempt["error"], word
    await eventually(lambda: sink.at_once == 0)
    assert sink.bytes_written < 5_000_000, "10 MB were read to their end"
    assert sink.posts_to("/200/landed") == [], "a redirect was followed"


async def test_an_address_that_became_private_is_not_posted_to(
    database: Database, pool: Pool, bus: MemoryBus, sink: Sink
) -> None:
    async with running_webhooks(settings_of(database), pool, bus) as trusting:
        made = await trusting.create(ADA, f"{sink.url}/200/hook")
    async with running_webhooks(settings_of(database, notify_outbound_allow=[]), pool, bus) as webhooks:
        [message_id] = await webhooks.say(started(ADA))
        found = await webhooks.settled(ADA, made, message_id)
    assert found["attempts_log"][0]["error"].startswith("not posted: ")
    assert sink.posts == []


async def test_an_answer_that_is_not_http_is_a_reason_that_can_be_kept(webhooks: Webhooks) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 2\x00\xff\xfe0 \x00\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        made = await webhooks.create(ADA, f"http://127.0.0.1:{port}/very-secret-path-of-a-webhook")
        [message_id] = await webhooks.say(started(ADA))
        found = await webhooks.settled(ADA, made, message_id)
    assert found["reason"]
    assert "very-secret-path" not in str(found)


async def test_410_disables_at_once_and_enabling_begins_anew(webhooks: Webhooks, sink: Sink) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/410/hook")
    path = f"/api/webhooks/{made['webhook_id']}"
    [message_id] = await webhooks.say(started(ADA))
    found = await webhooks.settled(ADA, made, message_id)
    assert (found["state"], found["reason"]) == ("failed", "answered 410")
    assert (await webhooks.show(ADA, made))["disabled_because"] == "it answered 410 Gone"
    for action in ("test", f"messages/{message_id}/replay"):
        assert (await webhooks.call("POST", f"{path}/{action}", ADA))[0] == 409

    sink.answers["/410/hook"] = lambda _: status_answer(200)
    other = await webhooks.create(ADA, f"{sink.url}/200/other")
    [missed] = await webhooks.say(started(ADA))
    await webhooks.settled(ADA, other, missed)
    status, shown = await webhooks.call("POST", f"{path}/enable", ADA)
    assert (status, shown["disabled_at"], shown["failing_since"]) == (200, None, None)
    status, test = await webhooks.call("POST", f"{path}/test", ADA)
    assert status == 202
    assert (await webhooks.settled(ADA, made, UUID(test["message_id"])))["state"] == "delivered"
    assert json.loads(sink.posts[-1].body)["type"] == "webhook.test"
    assert str(missed) not in {one["message_id"] for one in await webhooks.messages(ADA, made)}


async def test_an_endpoint_that_fails_for_days_is_disabled_and_what_waits_for_it_given_up(
    webhooks: Webhooks, sink: Sink, pool: Pool
) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/500/hook")
    [first] = await webhooks.say(started(ADA))
    await webhooks.settled(ADA, made, first)
    assert (await webhooks.show(ADA, made))["disabled_at"] is None
    await pool.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '119 hours'")
    [second] = await webhooks.say(started(ADA))
    await webhooks.settled(ADA, made, second)
    assert (await webhooks.show(ADA, made))["disabled_at"] is None

    await pool.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '121 hours'")
    await webhooks.say(started(ADA))

    async def is_disabled() -> bool:
        return (await webhooks.show(ADA, made))["disabled_at"] is not None

    await eventually(is_disabled)
    posts = len(sink.posts)
    assert (await webhooks.show(ADA, made))["disabled_because"] == "every attempt of 120 hours has failed"

    async def are_given_up() -> bool:
        await make_due(pool)  # again, for what was just being settled
        return {one["state"] for one in await webhooks.messages(ADA, made)} == {"failed"}

    await eventually(are_given_up)
    assert "disabled" in (await webhooks.message(ADA, made, str(first)))["reason"]
    assert len(sink.posts) == posts


async def test_after_a_rotation_both_secrets_sign_and_then_the_new_one_alone(
    webhooks: Webhooks, sink: Sink, pool: Pool
) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/200/hook")
    _, rotated = await webhooks.call("POST", f"/api/webhooks/{made['webhook_id']}/rotate-secret", ADA)
    await webhooks.say(started(ADA))
    await sink.wait_for(1)
    verified(sink.posts[0], made["secret"])
    verified(sink.posts[0], rotated["secret"])
    await pool.execute("UPDATE webhook_endpoints SET former_secret_until = now() - interval '1 second'")
    await webhooks.say(started(ADA))
    await sink.wait_for(2)
    verified(sink.posts[1], rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        verified(sink.posts[1], made["secret"])


async def test_one_that_hangs_and_one_that_fails_delay_nobody(webhooks: Webhooks, sink: Sink) -> None:
    async with running_sink() as hanging, running_sink() as failing:
        hung = await webhooks.create(ADA, f"{hanging.url}/silent/hook")
        await webhooks.create(ADA, f"{failing.url}/500/hook")
        made = await webhooks.create(ADA, f"{sink.url}/200/hook")
        message_ids = await webhooks.say(*(followed(ADA) for _ in range(100)))
        await sink.wait_for(100)
        assert {post.headers["webhook-id"] for post in sink.posts} == {str(one) for one in message_ids}
        assert len(hanging.posts) <= 16, "a host that hangs has its share, for 10 s each"
    assert await webhooks.messages(ADA, made, "?state=failed") == []
    assert await webhooks.messages(ADA, hung, "?state=delivered") == []


async def test_presets_post_what_each_service_takes(webhooks: Webhooks, sink: Sink, pool: Pool) -> None:
    room = f"{sink.url}/_matrix/client/v3/rooms/!r:m.example/send/m.room.message"
    await webhooks.create(ADA, f"{sink.url}/200/discord", preset="discord")
    await webhooks.create(ADA, f"{sink.url}/200/slack", preset="slack")
    await webhooks.create(ADA, f"{sink.url}/200/bot1:token/sendMessage?chat_id=-100", preset="telegram")
    await webhooks.create(ADA, room, preset="matrix", authorization="Bearer syt_x")
    start = started(ADA, title="*chess* <&> @everyone")
    [message_id, *_] = await webhooks.say(start, followed(ADA))
    await sink.wait_for(4)
    posts = {post.path.split("/")[2]: (post, json.loads(post.body)) for post in sink.posts}
    link = f"https://live.example.org/#/watch/{start.stream_id}"
    assert posts["discord"][1]["content"] == r"ada is live: \*chess\* \<&\> \@everyone" + f"\n{link}"
    assert posts["slack"][1]["text"] == f"ada is live: *chess* &lt;&amp;&gt; @everyone\n{link}"
    assert posts["bot1:token"][1]["chat_id"] == "-100"
    assert "&lt;&amp;&gt;" in posts["bot1:token"][1]["text"]
    matrix, said = posts["client"]
    assert matrix.path.endswith(f"/send/m.room.message/{message_id}")
    assert matrix.headers["authorization"] == "Bearer syt_x"
    assert said["body"] == f"ada is live: *chess* <&> @everyone\n{link}"
    assert all("webhook-signature" not in post.headers for post, _ in posts.values())


async def test_a_chat_service_that_is_busy_is_left_alone_without_spending_attempts(
    webhooks: Webhooks, sink: Sink, pool: Pool
) -> None:
    answers = [status_answer(429, retry_after="1")]

    def answer(_: Post) -> web.Response:
        return answers.pop() if answers else status_answer(200)

    sink.answers["/discord/hook"] = answer
    made = await webhooks.create(ADA, f"{sink.url}/discord/hook", preset="discord")
    [message_id] = await webhooks.say(started(ADA))
    await sink.wait_for(2)

    async def is_delivered() -> bool:
        return bool((await webhooks.message(ADA, made, str(message_id)))["state"] == "delivered")

    await eventually(is_delivered)
    found = await webhooks.message(ADA, made, str(message_id))
    assert [one["status"] for one in found["attempts_log"]] == [200, 429]

    async def is_forgotten() -> bool:
        return bool(await pool.fetchval("SELECT count(*) = 0 FROM deliveries"))

    await eventually(is_forgotten)


async def test_what_was_kept_for_long_enough_is_forgotten_in_batches(
    webhooks: Webhooks, sink: Sink, pool: Pool
) -> None:
    made = await webhooks.create(ADA, f"{sink.url}/200/hook")
    message_ids = await webhooks.say(*(followed(ADA) for _ in range(5)))
    for message_id in message_ids:
        await webhooks.settled(ADA, made, message_id)
    old: list[Any] = message_ids[:3]
    await pool.execute(
        "UPDATE webhook_messages SET created_at = now() - interval '31 days' WHERE message_id = ANY ($1)", old
    )
    assert await WebhookLogSweeper(pool, keep=timedelta(days=30), batch_messages_max=2).sweep() == 3
    assert [one["message_id"] for one in await webhooks.messages(ADA, made)] == [
        str(one) for one in reversed(message_ids[3:])
    ]
    assert await pool.fetchval("SELECT count(*) FROM webhook_attempts") == 2


def chatted(channel: Person, text: str) -> ChatMessageSent:
    return ChatMessageSent(
        channel_id=channel.user_id,
        message_id=uuid7(),
        user_id=EVE.user_id,
        username="eve",
        text=text,
        kind=SaidAs.MESSAGE,
        sent_at=datetime.now(UTC),
        offset=1,
        epoch="e",
        stream_id=None,
    )


async def test_chat_is_heard_by_those_who_asked_for_it_alone(webhooks: Webhooks, sink: Sink) -> None:
    await webhooks.create(ADA, f"{sink.url}/200/bot", events=["chat-message.sent"])
    await webhooks.create(ADA, f"{sink.url}/200/other", events=["stream.*"])
    await webhooks.create(ADA, f"{sink.url}/200/usual")
    await webhooks.create(EVE, f"{sink.url}/200/eve", events=["chat-message.*"])
    await webhooks.say(chatted(ADA, "!dice"), started(ADA))
    await sink.wait_for(3)
    posts = {post.path: json.loads(post.body) for post in sink.posts}
    assert {path: body["type"] for path, body in posts.items()} == {
        "/200/bot": "chat-message.sent",
        "/200/other": "stream.started",
        "/200/usual": "stream.started",
    }
    assert posts["/200/bot"]["data"]["text"] == "!dice"
