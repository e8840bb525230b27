"""What streaming asks of media servers: who publishes, to drop a publisher, and whether its stream has been closed."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from uuid import UUID

from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session

T = TypeVar("T")

AGE_TOLERANCE_SECONDS: Final = 1.0  # between our clock and the media server's, over the time of one question


@dataclass(frozen=True, slots=True)
class Publisher:
    """Somebody who publishes at a media server now."""

    client: str
    """The number or id of its connection there, exactly as hooks give it (`Session.client`)."""
    publishing_seconds: float | None
    """How old its connection is by the media server's clock: at least as long as ago its publish was accepted.

    Where a number may be given again (after a restart), this tells the two apart. None for servers whose ids never come
    twice; say None, too, where the time begins only some while after the hook's answer.
    """


class MediaServer(Protocol):
    """A media server that publishers are connected to.

    Every call ends within the seconds that the implementation was given, with an answer or MediaServerUnavailable: for
    a server that is away, too slow, or whose answer is not whole and understood. An empty answer is never a guess: what
    is decided by it is that nobody publishes. Calls may overlap, and any of them may be cancelled.
    """

    async def drop(self, session: Session) -> bool:
        """Cut a publisher off; False when it was not there any more. Raises MediaServerUnavailable.

        Nobody but the client of this number or id is touched, and a client that is not there is no error.
        """
        ...

    async def wait_closed(self, stream_id: UUID) -> bool:
        """Wait until the stream's last segment is written; False: not in time. Raises MediaServerUnavailable."""
        ...

    async def publishers(self) -> Sequence[Publisher]:
        """Who publishes to the application that streamers use. Raises MediaServerUnavailable.

        All of them (over all pages, where there are pages), from the moment when they act on the hook's answer until
        the connection is given up; not those that still wait for that answer (unless the server cannot tell them apart,
        as SRS), nor players, nor internal relays.
        """
        ...


class MediaServers:
    """The media servers of this installation by their names: those that sessions have as `Session.server`."""

    def __init__(self, by_name: Mapping[str, MediaServer]) -> None:
        self._by_name = dict(by_name)
        self._looks = {name: _SharedLook(server) for name, server in self._by_name.items()}

    def of(self, name: str) -> MediaServer:
        """One of them; raises MediaServerUnavailable for a name that is none of ours (any more)."""
        return _found(self._by_name, name)

    def __iter__(self) -> Iterator[tuple[str, MediaServer]]:
        """All of them with their names."""
        return iter(self._by_name.items())

    async def publishers(self, name: str) -> Sequence[Publisher]:
        """Who publishes at one of them, by an answer asked for after this call; calls at once share answers.

        Raises MediaServerUnavailable.
        """
        return await _found(self._looks, name).publishers()

    async def drop(self, session: Session, *, accepted_seconds_ago: float) -> bool:
        """Cut a session's publisher off; False when it is not there any more. Raises MediaServerUnavailable.

        Its number may be another's by now, for numbers begin again with the media server. So the server is looked at
        first: a connection younger than the session's publish (accepted so many seconds ago) is not touched.
        """
        for publisher in await self.publishers(session.server):
            if is_connection_of(publisher, session, accepted_seconds_ago=accepted_seconds_ago):
                return await self.of(session.server).drop(session)
        return False


def is_connection_of(publisher: Publisher, session: Session, *, accepted_seconds_ago: float) -> bool:
    """Whether a publisher of the session's own server is the session, rather than a later one with its number."""
    age = publisher.publishing_seconds
    younger = age is not None and age < accepted_seconds_ago - AGE_TOLERANCE_SECONDS
    return publisher.client == session.client and not younger


class _SharedLook:
    """Asks one media server who publishes; whoever asks while an answer is awaited shares the one after it.

    A restart of a media server brings hundreds of take-overs at once, each of which must look.
    """

    def __init__(self, server: MediaServer) -> None:
        self._server = server
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._answer: Sequence[Publisher] | MediaServerUnavailable = ()

    async def publishers(self) -> Sequence[Publisher]:
        clock = asyncio.get_running_loop().time
        called_at = clock()
        async with self._asking:
            if self._asked_at < called_at:
                asked_at = clock()
                try:
                    self._answer = await self._server.publishers()
                except MediaServerUnavailable as error:
                    self._answer = error
                self._asked_at = asked_at
            if isinstance(self._answer, MediaServerUnavailable):
                raise MediaServerUnavailable(self._answer.action, self._answer.reason)
            return self._answer


def _found(named: Mapping[str, T], name: str) -> T:
    try:
        return named[name]
    except KeyError:
        raise MediaServerUnavailable("find", f"no media server is called {name[:80]}") from None
