"""What media servers tell us, in words that belong to none of them.

Each dialect (`ingest_nginx_rtmp.py` is the first) turns its own request into one of these or refuses it, so that the
rules of a stream's life are written once.
"""

from dataclasses import dataclass, field
from enum import StrEnum


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
    key: str = field(repr=False)
    """The stream key as the publisher sent it: a secret, never logged."""
    publishing_seconds: int = 0
    """How long the session has been publishing, by the media server's clock; only with `IngestEvent.ALIVE`."""
