"""What media servers tell us, in words that belong to none of them.

Each dialect turns its own request into one of these or refuses it, so that the rules of a stream's life are written
once.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Dialect(StrEnum):
    """What a media server speaks; also the part of the hooks' address that says so."""

    NGINX_RTMP = "nginx-rtmp"
    SRS = "srs"
    MEDIAMTX = "mediamtx"
    ANT_MEDIA = "ant-media"


class IngestEvent(StrEnum):
    """What happened at the media server."""

    PUBLISH = "publish"
    """A publisher asks whether it may send."""
    ALIVE = "alive"
    """A publisher is still sending, and asks whether it may go on."""
    DONE = "done"
    """A publisher has left or was dropped."""


@dataclass(frozen=True, slots=True)
class Session:
    """One connection of one publisher: the media server and its number there.

    Numbers restart with the media server, so a session is the same one only between two publishes: the time of the
    latest publish is kept beside it (`OpenStream.session_started_at`).
    """

    server: str
    client: str


@dataclass(frozen=True, slots=True)
class IngestCommand:
    """One hook, understood."""

    event: IngestEvent
    session: Session
    key: str | None = field(repr=False)
    """The stream key as the publisher sent it: a secret, never logged.

    None, but never with `IngestEvent.PUBLISH`, where the server does not repeat it: the session says whose it is.
    """
    publishing_seconds: int = 0
    """How long the session has been publishing, by the media server's clock; only with `IngestEvent.ALIVE`."""
    channel_id: UUID | None = None
    """The channel that the stream's public name claims; its key must be this channel's. None: the name is the key."""
    happened_at: datetime | None = None
    """When it happened by the media server's clock, where its hooks come in any order and name no connection."""


@dataclass(frozen=True, slots=True)
class Uninteresting:
    """A well-formed hook that asks and says nothing about a publisher."""

    call: str
