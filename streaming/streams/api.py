"""What streamers and viewers ask of streams."""

from uuid import UUID

import asyncpg

from runtime.endpoints import endpoint
from runtime.pages import PageQuery
from runtime.read_pool import ReadPool
from runtime.ready import Ready
from runtime.tokens import Caller
from streaming import store
from streaming.errors import NotYourStream, StreamNotFound
from streaming.lifecycle.lifecycle import Status
from streaming.lifecycle.publishing import Publishing
from streaming.reads.livelist import LiveList
from streaming.streams.views import LiveStreamsPage, StreamPath, StreamView, stream_view

LIST_CACHE_CONTROL = "public, max-age=1, stale-while-revalidate=4, stale-if-error=20"
"""Fresh for a second, so that a start shows; shown on for some while it is asked for again, or while we are away."""


class Streams:
    """Streams, live and past."""

    tag = "streams"

    def __init__(
        self, reads: ReadPool, publishing: Publishing, live_list: LiveList[PageQuery, LiveStreamsPage]
    ) -> None:
        self._reads = reads
        self._publishing = publishing
        self._live_list = live_list

    @endpoint("GET", "/api/streams", headers={"Cache-Control": LIST_CACHE_CONTROL}, limit=None)
    async def list_live_streams(self, query: PageQuery) -> Ready[LiveStreamsPage]:
        """The streams that are on, newest first."""
        return await self._live_list.page(query)

    @endpoint("GET", "/api/streams/{stream_id}", problems=(StreamNotFound,))
    async def get_stream(self, path: StreamPath) -> StreamView:
        """A stream, live or past, and what is known of its recording."""
        return stream_view(await self._find(path.stream_id))

    @endpoint("POST", "/api/streams/{stream_id}/end", problems=(StreamNotFound, NotYourStream))
    async def end_stream(self, caller: Caller, path: StreamPath) -> StreamView:
        """End a stream of one's own.

        The publisher is dropped. Ending a stream that is over changes nothing and answers the same.
        """
        row = await self._find(path.stream_id)
        if row["channel_id"] != caller.user_id:
            raise NotYourStream("only its streamer may end a stream")
        if row["status"] != Status.ENDED:
            await self._publishing.end(path.stream_id)
        return stream_view(await self._find(path.stream_id))

    async def _find(self, stream_id: UUID) -> asyncpg.Record:
        row: asyncpg.Record | None = await store.queries.find_stream(self._reads, stream_id=stream_id)
        if row is None:
            raise StreamNotFound("no stream has this id")
        return row
