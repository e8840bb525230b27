"""The notice: what a follower is told, the same in the inbox, on Redis and in a live event."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from events import FanoutPagePlanned, StreamStarted

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


def page_notice(page: FanoutPagePlanned) -> Notice:
    """The notice that a page tells."""
    return Notice(
        notification_id=page.fanout_id,
        kind=page.kind,
        stream_id=page.stream_id,
        channel_id=page.channel_id,
        channel_name=page.channel_name,
        title=page.title,
        category=page.category,
        created_at=page.started_at,
    )


def least_notice_id(moment: datetime) -> UUID:
    """An id below those of all streams that start from `moment` on (RFC 9562, section 5.7: milliseconds come first)."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def id_before(notice_id: UUID, *, seconds: int) -> UUID:
    """The id that far ahead of `notice_id` in time."""
    return UUID(int=max(0, notice_id.int - (seconds * 1000 << 80)))


@dataclass(frozen=True)
class LiveNotice:
    """A notice with its bytes on the wire, made once however many clients get them."""

    notice: Notice

    @cached_property
    def frame(self) -> bytes:
        """The server-sent event that also moves the client's Last-Event-ID to this notice."""
        return f"id: {self.notice.notification_id}\n".encode() + self.frame_out_of_order

    @cached_property
    def frame_out_of_order(self) -> bytes:
        """The event for a client that already had a later notice: without an id, its Last-Event-ID stays there.

        The data is one line: JSON escapes line ends (HTML Standard, section 9.2.6, would split the field at them).
        """
        return f"event: notice\ndata: {self.notice.model_dump_json()}\n\n".encode()
