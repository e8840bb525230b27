"""The notice: what a follower is told, the same in the inbox, on Redis and in a live event."""

from datetime import datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from events import RecordingPublished, StreamStarted, StreamUpdated

NoticeKind = Literal["stream.started", "recording.published"]


class Notice(BaseModel):
    """Something that a follower is told."""

    model_config = ConfigDict(frozen=True)

    notification_id: UUID = Field(description="Unique within one person's notices; ascends with what they tell of.")
    kind: NoticeKind = "stream.started"
    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None = Field(default=None, description="Of the stream; null: it has none.")
    created_at: datetime = Field(description="When it happened: the stream started, the recording was published.")


def stream_notice(event: StreamStarted) -> Notice:
    """The notice that a stream started. Its id is the stream's, so that every repetition is recognised as one."""
    return Notice(
        notification_id=event.stream_id,
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        channel_name=event.channel_name,
        title=event.title,
        category=event.category,
        created_at=event.started_at,
    )


def published_notice(event: StreamUpdated, channel_name: str) -> Notice:
    """The notice that a stream which began hidden can be watched by everybody; the same one as if it had just begun."""
    return Notice(
        notification_id=event.stream_id,
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        channel_name=channel_name,
        title=event.title,
        category=event.category,
        created_at=event.updated_at,
    )


def recording_notice(event: RecordingPublished, channel_name: str, title: str, category: str | None) -> Notice:
    """The notice that a recording can be watched, with the words of its stream."""
    return Notice(
        notification_id=recording_notice_id(event.stream_id, event.published_at),
        kind="recording.published",
        stream_id=event.stream_id,
        channel_id=event.channel_id,
        channel_name=channel_name,
        title=title,
        category=category,
        created_at=event.published_at,
    )


def recording_notice_id(stream_id: UUID, published_at: datetime) -> UUID:
    """A UUIDv7 of that moment which is always the same for this stream, so that a repetition is recognised.

    RFC 9562, section 5.7: 48 bits of milliseconds, then what is random there and a digest of the stream's id here.
    """
    milliseconds = int(published_at.timestamp() * 1000)
    digest = int.from_bytes(sha256(stream_id.bytes).digest()[:10])
    version_and_variant = 0x7 << 76 | 0b10 << 62
    return UUID(int=milliseconds << 80 | digest & ~(0xF << 76 | 0b11 << 62) | version_and_variant)


def least_notice_id(moment: datetime) -> UUID:
    """An id below those of all streams that start from `moment` on (RFC 9562, section 5.7: milliseconds come first)."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def id_before(notice_id: UUID, *, seconds: int) -> UUID:
    """The id that far ahead of `notice_id` in time."""
    return UUID(int=max(0, notice_id.int - (seconds * 1000 << 80)))
