"""Deletes recordings so that it can be undone: hidden at once, their objects kept until the purge.

What is said is said in the transaction that marks the row; the purger (`archive/library/purge.py`) removes the objects
when the time has come.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import structlog

from archive.store import QUERIES
from eventbus.outbox import Transaction
from events import DeleteReason, RecordingDeleted, RecordingRestored

log = structlog.get_logger(__name__)


async def mark_deleted(transaction: Transaction, stream_id: UUID, reason: DeleteReason, purge_at: datetime) -> bool:
    """Hide the recording and say so; its objects go after ``purge_at``. Whether this call was the one that did it.

    False: it is deleted already, its stream still runs, or there is none. The reason and the time of the first deletion
    stay.
    """
    now = datetime.now(UTC)
    channel_id = await QUERIES.mark_deleted(
        transaction.connection, stream_id=stream_id, deleted_at=now, purge_due_at=purge_at, reason=reason.value
    )
    if channel_id is None:
        return False
    await transaction.say(
        RecordingDeleted(stream_id=stream_id, channel_id=channel_id, reason=reason, deleted_at=now, purge_at=purge_at)
    )
    log.info("recording_deleted", stream_id=str(stream_id), reason=reason.value, purge_at=purge_at.isoformat())
    return True


async def mark_restored(transaction: Transaction, stream_id: UUID) -> bool:
    """Show a deleted recording again and say so; False: it is not deleted, or its purge has begun."""
    channel_id = await QUERIES.mark_restored(transaction.connection, stream_id=stream_id)
    if channel_id is None:
        return False
    await transaction.say(RecordingRestored(stream_id=stream_id, channel_id=channel_id, restored_at=datetime.now(UTC)))
    log.info("recording_restored", stream_id=str(stream_id))
    return True
