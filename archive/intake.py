"""Hears of streams: a start promises a recording, an end lets the shipper settle it; twice or in any order is fine."""

from __future__ import annotations

import structlog

from archive import store
from eventbus.outbox import Transaction
from eventbus.subscription import Subscription
from events import Envelope, StreamEnded, StreamStarted
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
        started_at=event.started_at,
    )
    log.info("recording_promised", stream_id=str(event.stream_id))


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
    handlers={StreamStarted: on_stream_started, StreamEnded: on_stream_ended},
)
