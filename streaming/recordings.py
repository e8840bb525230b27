"""Listens to archive, so that a stream's view says where its recording plays."""

from typing import Final
from uuid import UUID

from eventbus.consume import Subscription
from eventbus.outbox import Transaction
from events import (
    DeleteReason,
    Envelope,
    RecordingCompleted,
    RecordingDeleted,
    RecordingFailed,
    RecordingPublished,
    RecordingRestored,
)
from streaming import store

GROUP: Final = "streaming"


def recordings_subscription() -> Subscription:
    """What streaming wants to hear of recordings."""
    return Subscription(
        group=GROUP,
        handlers={
            RecordingPublished: on_published,
            RecordingCompleted: on_completed,
            RecordingFailed: on_failed,
            RecordingDeleted: on_deleted,
            RecordingRestored: on_restored,
        },
    )


async def on_published(transaction: Transaction, envelope: Envelope[RecordingPublished]) -> None:
    """The recording plays; its lower renditions are still being made."""
    said = envelope.event
    await _save(transaction, said.stream_id, "processing", said.playback_path, said.duration_seconds)


async def on_completed(transaction: Transaction, envelope: Envelope[RecordingCompleted]) -> None:
    """Every rendition is there."""
    await _save(transaction, envelope.event.stream_id, "completed")


async def on_failed(transaction: Transaction, envelope: Envelope[RecordingFailed]) -> None:
    """Nothing more will come; what was published stays."""
    await _save(transaction, envelope.event.stream_id, "failed")


async def on_deleted(transaction: Transaction, envelope: Envelope[RecordingDeleted]) -> None:
    """The stream is shown without its recording; where the account is gone, the stream goes as well."""
    if envelope.event.reason is DeleteReason.ACCOUNT:
        await store.queries.drop_recording(transaction.connection, stream_id=envelope.event.stream_id)
        return
    await store.queries.hide_recording(transaction.connection, stream_id=envelope.event.stream_id, deleted=True)


async def on_restored(transaction: Transaction, envelope: Envelope[RecordingRestored]) -> None:
    """The stream is shown with its recording again."""
    await store.queries.hide_recording(transaction.connection, stream_id=envelope.event.stream_id, deleted=False)


async def _save(
    transaction: Transaction,
    stream_id: UUID,
    status: str,
    playback_path: str | None = None,
    duration_seconds: float | None = None,
) -> None:
    await store.queries.save_recording(
        transaction.connection,
        stream_id=stream_id,
        status=status,
        playback_path=playback_path,
        duration_seconds=duration_seconds,
    )
