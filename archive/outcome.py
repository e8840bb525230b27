"""How a recording ends up: completed or failed, said once, in the transaction that makes it so."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog

from archive.store import QUERIES
from eventbus.outbox import Transaction
from events import RecordingCompleted, RecordingFailed

log = structlog.get_logger(__name__)

REASON_CHARACTERS_MAX = 1_000


async def complete(transaction: Transaction, stream_id: UUID, *, renditions: tuple[str, ...], now: datetime) -> bool:
    """Every rendition is ready; whether this call was the one that said it."""
    channel_id = await QUERIES.complete(transaction.connection, stream_id=stream_id, completed_at=now)
    if channel_id is None:
        return False
    await transaction.say(
        RecordingCompleted(stream_id=stream_id, channel_id=channel_id, renditions=renditions, completed_at=now)
    )
    log.info("recording_completed", renditions=renditions)
    return True


async def fail(transaction: Transaction, stream_id: UUID, *, reason: str, now: datetime) -> bool:
    """There will be no recording, or no further rendition of it; whether this call was the one that said it."""
    reason = reason[:REASON_CHARACTERS_MAX]
    channel_id = await QUERIES.fail(transaction.connection, stream_id=stream_id, failed_at=now, failure=reason)
    if channel_id is None:
        return False
    await transaction.say(RecordingFailed(stream_id=stream_id, channel_id=channel_id, reason=reason, failed_at=now))
    log.error("recording_failed", reason=reason)
    return True
