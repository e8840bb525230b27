"""What streaming asks of media servers: who publishes, to drop a publisher, and whether its stream has been closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session


@dataclass(frozen=True, slots=True)
class Publisher:
    """Somebody who publishes at a media server now."""

    client: str
    """The number or id of its connection there, as in `Session.client`."""
    publishing_seconds: float
    """How long it has been publishing, by the media server's clock."""


class MediaServer(Protocol):
    """A media server that publishers are connected to. Every call is bounded in time."""

    async def drop(self, session: Session) -> bool:
        """Cut a publisher off; False when it was not there any more. Raises MediaServerUnavailable."""
        ...

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Wait until the stream's last segment is written; False: not in time. Raises MediaServerUnavailable."""
        ...

    async def publishers(self) -> Sequence[Publisher]:
        """Who publishes to the application that streamers use. Raises MediaServerUnavailable."""
        ...


class MediaServers:
    """The media servers of this installation by their names: those that sessions have as `Session.server`."""

    def __init__(self, by_name: Mapping[str, MediaServer]) -> None:
        self._by_name = dict(by_name)

    def of(self, name: str) -> MediaServer:
        """One of them; raises MediaServerUnavailable for a name that is none of ours (any more)."""
        try:
            return self._by_name[name]
        except KeyError:
            raise MediaServerUnavailable("find", f"no media server is called {name[:80]}") from None

    def __iter__(self) -> Iterator[tuple[str, MediaServer]]:
        """All of them with their names."""
        return iter(self._by_name.items())
