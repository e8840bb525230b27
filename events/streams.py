"""What happens to streams. Both facts of one stream share its channel as key, so that they keep their order."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from events.envelope import Event


class EndReason(StrEnum):
    """Why a stream ended."""

    STREAMER = "streamer"
    """The streamer asked for it."""
    GRACE_OVER = "grace-over"
    """The publisher left and did not come back in time."""
    SILENT = "silent"
    """The media server stopped telling of the publisher."""


class StreamStarted(Event):
    """A channel went live. Said once for a stream, however often its publisher reconnects."""

    type: ClassVar[str] = "stream.started"

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None = None
    """What the stream is about, in the streamer's own word; None: nothing was said."""
    started_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.stream_id)


class StreamEnded(Event):
    """A stream is over and will not resume."""

    type: ClassVar[str] = "stream.ended"

    stream_id: UUID
    channel_id: UUID
    started_at: AwareDatetime
    ended_at: AwareDatetime
    reason: EndReason

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.stream_id)
