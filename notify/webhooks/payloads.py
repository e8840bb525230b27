"""Which events a webhook may listen to, and what is posted of them: `{"type", "timestamp", "data"}`."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from events import (
    ChatMessageSent,
    Envelope,
    FollowCreated,
    FollowDeleted,
    RecordingCompleted,
    RecordingDeleted,
    RecordingFailed,
    RecordingProgressed,
    RecordingPublished,
    RecordingRestored,
    RecordingVisibilityChanged,
    StreamEnded,
    StreamStarted,
    StreamUpdated,
)

ChannelEvent: TypeAlias = (
    StreamStarted
    | StreamUpdated
    | StreamEnded
    | RecordingPublished
    | RecordingProgressed
    | RecordingCompleted
    | RecordingFailed
    | RecordingDeleted
    | RecordingRestored
    | RecordingVisibilityChanged
    | FollowCreated
    | FollowDeleted
    | ChatMessageSent
)
"""What happens to a channel."""

EVENTS: Sequence[type[ChannelEvent]] = (
    StreamStarted,
    StreamUpdated,
    StreamEnded,
    RecordingPublished,
    RecordingProgressed,
    RecordingCompleted,
    RecordingFailed,
    RecordingDeleted,
    RecordingRestored,
    RecordingVisibilityChanged,
    FollowCreated,
    FollowDeleted,
    ChatMessageSent,
)
TEST_TYPE = "webhook.test"


def patterns_of(event_type: str) -> list[str]:
    """What an endpoint may have asked for to get an event of this type: the type, and its family's pattern."""
    return [event_type, f"{event_type.partition('.')[0]}.*"]


EVENT_PATTERNS: Sequence[str] = tuple(
    dict.fromkeys([pattern for event in EVENTS for pattern in reversed(patterns_of(event.type))])
)
"""Everything that may be asked for."""

USUAL_PATTERNS: Sequence[str] = tuple(
    pattern for pattern in EVENT_PATTERNS if "*" in pattern and pattern not in patterns_of(ChatMessageSent.type)
)
"""What an endpoint gets that asks for nothing itself: all but chat, of which there may be hundreds a second."""


def event_body(envelope: Envelope[ChannelEvent]) -> str:
    """What is posted of an event. The data are the event's own fields (docs/events.md)."""
    return body_of(envelope.event.type, envelope.time, envelope.event.model_dump(mode="json"))


def trial_body(endpoint_id: UUID, at: datetime) -> str:
    """What is posted when the owner of an endpoint tries it."""
    return body_of(TEST_TYPE, at, {"webhook_id": str(endpoint_id)})


def body_of(event_type: str, at: datetime, content: Mapping[str, Any]) -> str:
    """A body by Standard Webhooks, compact; `at` is when it happened."""
    timestamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    payload = {"type": event_type, "timestamp": timestamp, "data": content}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
