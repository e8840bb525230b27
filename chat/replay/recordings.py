"""Keeps what recordings and streams show as their services tell it: the consumer group `chat-replays`."""

from collections.abc import Mapping
from typing import Any

from chat.replay import store
from chat.replay.timeline import Anchor
from eventbus.consume import Handler, Subscription
from eventbus.outbox import Transaction
from events import (
    Envelope,
    Event,
    RecordingDeleted,
    RecordingPublished,
    RecordingRestored,
    RecordingVisibilityChanged,
    StreamEnded,
    StreamStarted,
)

GROUP = "chat-replays"


def subscription() -> Subscription:
    """What to listen to. Facts of one recording come in order, those of its stream at any time before or after."""
    handlers: Mapping[type[Event], Handler[Any]] = {
        StreamStarted: on_stream_started,
        StreamEnded: on_stream_ended,
        RecordingPublished: on_recording_published,
        RecordingVisibilityChanged: on_visibility_changed,
        RecordingDeleted: on_recording_deleted,
        RecordingRestored: on_recording_restored,
    }
    return Subscription(group=GROUP, handlers=handlers)


async def on_stream_started(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    """Rewinding a running stream shows its chat as well."""
    event = envelope.event
    await store.start(transaction.connection, event.stream_id, event.channel_id, event.started_at)


async def on_stream_ended(transaction: Transaction, envelope: Envelope[StreamEnded]) -> None:
    """It grows no more."""
    event = envelope.event
    await store.end(transaction.connection, event.stream_id, event.channel_id, event.started_at, event.ended_at)


async def on_recording_published(transaction: Transaction, envelope: Envelope[RecordingPublished]) -> None:
    """From now on its own time line counts."""
    event = envelope.event
    await store.publish(
        transaction.connection,
        event.stream_id,
        event.channel_id,
        anchors=[Anchor(anchor.at_seconds, anchor.at) for anchor in event.timeline],
        duration_seconds=event.duration_seconds,
        visibility=event.visibility.value,
        clip_of=event.clip_of,
        clip_from_seconds=event.clip_from_seconds,
    )


async def on_visibility_changed(transaction: Transaction, envelope: Envelope[RecordingVisibilityChanged]) -> None:
    """Whoever may not see a recording does not read along either."""
    event = envelope.event
    await store.show(transaction.connection, event.stream_id, event.channel_id, event.visibility.value)


async def on_recording_deleted(transaction: Transaction, envelope: Envelope[RecordingDeleted]) -> None:
    """Its chat is shown no more beside it; in the room's history it stays."""
    event = envelope.event
    await store.note_deleted(transaction.connection, event.stream_id, event.channel_id, deleted=True)


async def on_recording_restored(transaction: Transaction, envelope: Envelope[RecordingRestored]) -> None:
    """It is there again."""
    event = envelope.event
    await store.note_deleted(transaction.connection, event.stream_id, event.channel_id, deleted=False)
