"""Finds a stream by the id that somebody has of it, and says who may see it."""

from uuid import UUID

from events import Visibility
from runtime.queries import Executor
from runtime.tokens import Caller
from streaming import store
from streaming.errors import NotYourStream, StreamNotFound
from streaming.servers.playback import PlaybackAddresses
from streaming.streams.views import StreamView, prepared_view, stream_view


class Finding:
    """Streams by their ids, and by those that they were announced under."""

    def __init__(self, database: Executor, addresses: PlaybackAddresses | None = None) -> None:
        self._database = database
        self.addresses = addresses or PlaybackAddresses()
        """Where they play."""

    async def find(self, stream_id: UUID) -> StreamView:
        """The stream, whoever may see it; raises StreamNotFound."""
        [found] = await self.addresses.correct(self._database, [await self._find(stream_id)])
        return found

    async def _find(self, stream_id: UUID) -> StreamView:
        row = await store.queries.find_stream(self._database, stream_id=stream_id)
        if row is not None:
            return stream_view(row)
        prepared = await store.queries.find_prepared_stream(self._database, prepared_id=stream_id)
        if prepared is not None and prepared["begun_as"] is None:
            return prepared_view(prepared)
        if prepared is not None:
            row = await store.queries.find_stream(self._database, stream_id=prepared["begun_as"])
        if row is None:
            raise StreamNotFound("no stream has this id")
        return stream_view(row)

    async def seen_by(self, caller: Caller | None, stream_id: UUID) -> StreamView:
        """The stream, unless it is private and somebody else's; raises StreamNotFound."""
        stream = await self.find(stream_id)
        if stream.visibility is Visibility.PRIVATE and not is_own(stream, caller):
            raise StreamNotFound("no stream has this id")
        return stream

    async def owned_by(self, caller: Caller, stream_id: UUID, *, or_operator: bool = False) -> StreamView:
        """The caller's own stream, or for an operator anybody's where that is said.

        Raises StreamNotFound, NotYourStream.
        """
        if or_operator and caller.operator:
            return await self.find(stream_id)
        stream = await self.seen_by(caller, stream_id)
        if not is_own(stream, caller):
            raise NotYourStream("only its streamer may do this to a stream")
        return stream


def is_own(stream: StreamView, caller: Caller | None) -> bool:
    """Whether it is a stream of the caller's channel."""
    return caller is not None and caller.user_id == stream.channel_id
