"""Hears of streams: a start promises a recording, an end lets the shipper settle it; twice or in any order is fine.

A recording begins with the visibility of its stream, and follows it while that is on.
"""

from __future__ import annotations

import structlog

from archive import store
from eventbus.outbox import Transaction
from eventbus.subscription import Subscription
from events import Envelope, RecordingVisibilityChanged, StreamEnded, StreamStarted, StreamUpdated
from runtime.trace import current_trace

log = structlog.get_logger(__name__)

GROUP = "archive-intake"


async def on_stream_started(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    """Promise a recording."""
    event = envelope.event
    await store.note_started(
        transaction.connection,
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        channel_name=event.channel_name,
        title=event.title,
        visibility=event.visibility.value,
        started_at=event.started_at,
    )
    log.info("recording_promised", stream_id=str(event.stream_id))


async def on_stream_updated(transaction: Transaction, envelope: Envelope[StreamUpdated]) -> None:
    """Follow the stream in its title, unless the owner gave the recording one, and in who may see it."""
    event = envelope.event
    followed = await store.QUERIES.follow_stream(
        transaction.connection,
        stream_id=event.stream_id,
        title=event.title,
        # What has not changed is not said again: the owner may have decided otherwise of the recording.
        visibility=None if event.visibility_before is None else event.visibility.value,
    )
    if followed is None or not followed["visibility_changed"]:
        return
    await transaction.say(
        RecordingVisibilityChanged(
            stream_id=event.stream_id,
            channel_id=followed["channel_id"],
            visibility=followed["visibility"],
            changed_at=event.updated_at,
        )
    )


async def on_stream_ended(transaction: Transaction, envelope: Envelope[StreamEnded]) -> None:
    """Let the shipper settle the stream's directory."""
    event = envelope.event
    trace = current_trace()
    await store.note_ended(
        transaction.connection,
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        started_at=event.started_at,
        ended_at=event.ended_at,
        traceparent=None if trace is None else trace.traceparent,
    )
    log.info("recording_awaits_settling", stream_id=str(event.stream_id), reason=event.reason.value)


SUBSCRIPTION = Subscription(
    group=GROUP,
    handlers={StreamStarted: on_stream_started, StreamUpdated: on_stream_updated, StreamEnded: on_stream_ended},
)
