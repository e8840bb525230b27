"""What must be there for each endpoint that takes an Idempotency-Key to succeed, and what tells that it did its work.

Made in the database where the way through the system is long: what is tried here is that a success is not repeated.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from runtime.ids import uuid7
from tests.contract.world import World

AUDITED: Final = "SELECT count(*)::text FROM chat.audit_log"
FAN_OUTS: Final = "SELECT string_agg(state || state_changed_at, ' ' ORDER BY fanout_id) FROM notify.fanouts"
MESSAGES: Final = "SELECT count(*) || ' ' || count(*) FILTER (WHERE state = 'failed') FROM notify.webhook_messages"
CLIPS: Final = "SELECT count(*)::text FROM archive.recordings WHERE clip_of IS NOT NULL"
PREPARED: Final = "SELECT count(*)::text FROM streaming.prepared_streams"


@dataclass(frozen=True)
class Ready:
    """What the request has to say for a success, besides what all requests of the tests say."""

    path: Mapping[str, str] = field(default_factory=dict)
    body: object = None


@dataclass(frozen=True)
class Success:
    """How an endpoint is made to succeed, and a query whose answer changes when it does, and each time it does."""

    trace: str
    prepare: Callable[[World], Awaitable[Ready]]
    said: str | None = None
    """The only field of the answer that a repetition says again; None: all is said again."""


async def nothing(world: World) -> Ready:
    """It succeeds as it is."""
    return Ready()


async def no_poll(world: World) -> Ready:
    """One poll runs at a time, so none does."""
    await world.execute("UPDATE chat.polls SET ended_at = now(), result = '{0,0}' WHERE ended_at IS NULL")
    return Ready()


async def a_poll(world: World) -> Ready:
    """One that runs."""
    await no_poll(world)
    room = f"/api/chat/{world.owner.user_id}"
    poll = await world.asked("POST", f"{room}/polls", {"question": "Which?", "options": ["a", "b"], "seconds": 600})
    return Ready({"poll_id": poll["poll_id"]})


async def a_held_message(world: World) -> Ready:
    """The stranger's."""
    held_id = uuid7()
    await world.execute(
        "INSERT INTO chat.held_messages (held_id, channel_id, user_id, username, send_id, kind, text, term, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, 'message', 'bad words', 'bad words', now() + interval '1 hour')",
        held_id,
        UUID(world.owner.user_id),
        UUID(world.stranger.user_id),
        world.stranger.username,
        str(held_id),
    )
    return Ready({"held_id": str(held_id)})


def a_fan_out(state: str) -> Callable[[World], Awaitable[Ready]]:
    """One that has not come to its end."""

    async def prepare(world: World) -> Ready:
        await world.execute(
            "UPDATE notify.fanouts SET state = $1 WHERE fanout_id = $2", state, UUID(world.things["fanout_id"])
        )
        return Ready()

    return prepare


async def a_failed_message(world: World) -> Ready:
    """One that the webhook's server did not take."""
    message_id = uuid7()
    await world.execute(
        "INSERT INTO notify.webhook_messages (endpoint_id, message_id, type, body, state, settled_at)"
        " VALUES ($1, $2, 'webhook.test', '{}', 'failed', now())",
        UUID(world.things["webhook_id"]),
        message_id,
    )
    return Ready({"message_id": str(message_id)}, {"since": "2024-05-01T12:00:00Z"})


async def a_recording(world: World) -> Ready:
    """One that plays, of six seconds."""
    stream_id = uuid7()
    await world.execute(
        "INSERT INTO archive.recordings (stream_id, channel_id, status, started_at, ended_at, settled_at,"
        " segments_expected, published_at, completed_at, duration_ms, ladder_planned_at)"
        " VALUES ($1, $2, 'completed', now(), now(), now(), 3, now(), now(), 6000, now())",
        stream_id,
        UUID(world.owner.user_id),
    )
    await world.execute(
        "INSERT INTO archive.segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)"
        " SELECT $1, number, 2000, 1000, false FROM generate_series(0, 2) AS number",
        stream_id,
    )
    return Ready({"stream_id": str(stream_id)}, {"from_seconds": 0, "to_seconds": 4})


SUCCESSES: Mapping[str, Success] = {
    "POST /api/archives/{stream_id}/clips": Success(CLIPS, a_recording, said="stream_id"),
    "POST /api/chat/{channel_id}/announcements": Success(AUDITED, nothing),
    "POST /api/chat/{channel_id}/blocked-terms": Success(AUDITED, nothing),
    "POST /api/chat/{channel_id}/clear": Success(AUDITED, nothing),
    "POST /api/chat/{channel_id}/held/{held_id}/approve": Success(AUDITED, a_held_message),
    "POST /api/chat/{channel_id}/held/{held_id}/deny": Success(AUDITED, a_held_message),
    "POST /api/chat/{channel_id}/polls": Success(AUDITED, no_poll),
    "POST /api/chat/{channel_id}/polls/{poll_id}/end": Success(AUDITED, a_poll),
    "POST /api/fanouts/{fanout_id}/cancel": Success(FAN_OUTS, a_fan_out("running")),
    "POST /api/fanouts/{fanout_id}/pause": Success(FAN_OUTS, a_fan_out("running")),
    "POST /api/fanouts/{fanout_id}/resume": Success(FAN_OUTS, a_fan_out("paused")),
    "POST /api/streams": Success(PREPARED, nothing),
    "POST /api/webhooks/{webhook_id}/messages/{message_id}/replay": Success(MESSAGES, a_failed_message),
    "POST /api/webhooks/{webhook_id}/replay": Success(MESSAGES, a_failed_message),
    "POST /api/webhooks/{webhook_id}/test": Success(MESSAGES, nothing),
}
"""One for each: an endpoint that is not here fails its test."""
