"""What happens to streams. All facts of one stream share its channel as key, so that they keep their order."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from events.envelope import Event
from events.visibility import Visibility


class EndReason(StrEnum):
    """Why a stream ended."""

    STREAMER = "streamer"
    """The streamer asked for it."""
    GRACE_OVER = "grace-over"
    """The publisher left and did not come back in time."""
    SILENT = "silent"
    """The media server stopped telling of the publisher."""
    KICKED = "kicked"
    """The streamer or an operator cut the publisher off and refused its key."""
    DELETED = "deleted"
    """The streamer's account was deleted."""


class StreamStarted(Event):
    """A channel went live. Said once for a stream, however often its publisher reconnects."""

    type: ClassVar[str] = "stream.started"

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None = None
    """What the stream is about, in the streamer's own word; None: nothing was said."""
    tags: tuple[str, ...] = ()
    language: str | None = None
    """The BCP 47 tag of what is spoken; None: nothing was said."""
    visibility: Visibility = Visibility.PUBLIC
    started_at: AwareDatetime

    @property
    def key(self) -> str:
        return str(self.channel_id)

    @property
    def subject(self) -> str:
        return str(self.stream_id)


class StreamUpdated(Event):
    """What a running stream is called and who may watch it has changed; all of it as it is from now on."""

    type: ClassVar[str] = "stream.updated"

    stream_id: UUID
    channel_id: UUID
    title: str
    category: str | None
    tags: tuple[str, ...]
    language: str | None
    visibility: Visibility
    visibility_before: Visibility | None = None
    """Who might watch it until now, if that has changed."""
    updated_at: AwareDatetime

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
