"""What streamers and viewers ask of streams."""

from functools import partial

from events import EndReason
from runtime.endpoints import endpoint
from runtime.limits import STREAM_CREATIONS
from runtime.read_pool import ReadPool
from runtime.ready import Ready
from runtime.tokens import Caller
from streaming import store
from streaming.channels.bans import Bans
from streaming.errors import (
    NotPrepared,
    NotYourStream,
    StreamHasBegun,
    StreamIsOver,
    StreamNotFound,
    TooManyPrepared,
)
from streaming.lifecycle.publishing import Publishing
from streaming.reads.livelist import LiveList
from streaming.streams.bodies import Kick, Preparation, StreamChange
from streaming.streams.changing import Changing
from streaming.streams.finding import Finding, is_own
from streaming.streams.lists import StreamsQuery, read_streams
from streaming.streams.preparing import Preparing
from streaming.streams.views import (
    CategoriesView,
    CategoryView,
    LiveStreamsPage,
    StreamPath,
    StreamStatus,
    StreamView,
)
from streaming.viewers.audience import Audience

LIST_CACHE_CONTROL = "public, max-age=1, stale-while-revalidate=4, stale-if-error=20"
"""Fresh for a second, so that a start shows; shown on for some while it is asked for again, or while we are away."""
CATEGORIES_CACHE_CONTROL = "public, max-age=10, stale-while-revalidate=20, stale-if-error=60"
OWN_CACHE_CONTROL = "private, no-store"
CATEGORIES_MAX = 100


class Streams:
    """Streams: prepared, live and past."""

    tag = "streams"

    def __init__(
        self,
        reads: ReadPool,
        finding: Finding,
        preparing: Preparing,
        changing: Changing,
        publishing: Publishing,
        bans: Bans,
        live_list: LiveList[StreamsQuery, LiveStreamsPage],
        audience: Audience,
    ) -> None:
        self._reads = reads
        self._finding = finding
        self._preparing = preparing
        self._changing = changing
        self._publishing = publishing
        self._bans = bans
        self._live_list = live_list
        self._audience = audience

    @endpoint("GET", "/api/streams", headers={"Cache-Control": LIST_CACHE_CONTROL}, plain_is_free=True)
    async def list_streams(self, caller: Caller | None, query: StreamsQuery) -> Ready[LiveStreamsPage]:
        """The streams that are on, newest first; or those of a channel that are prepared or over.

        Only public ones, but a streamer who asks for their own channel sees them all.
        """
        if caller is not None and query.channel_id == caller.user_id:
            page = await self._finding.addresses.corrected(partial(read_streams, with_hidden=True))(self._reads, query)
            return Ready.of(page, {"Cache-Control": OWN_CACHE_CONTROL})
        return await self._live_list.page(query)

    @endpoint("GET", "/api/categories", headers={"Cache-Control": CATEGORIES_CACHE_CONTROL})
    async def list_categories(self) -> CategoriesView:
        """What the public streams that are on are about, and how many are about it; at most 100."""
        rows = await store.queries.list_categories(self._reads, rows_max=CATEGORIES_MAX)
        return CategoriesView(items=[CategoryView(**row) for row in rows])

    @endpoint("POST", "/api/streams", problems=(TooManyPrepared,), status=201, limit=STREAM_CREATIONS, idempotent=True)
    async def prepare_stream(self, caller: Caller, body: Preparation) -> StreamView:
        """Prepare a stream of the caller's channel, and announce it.

        It begins with the channel's next publish from an hour before its time on, the earliest first; one without a
        time with the next publish at all. Its id leads to the stream from then on. One that has not begun a week after
        its time, or after 90 days, is gone.
        """
        return await self._finding.find(await self._preparing.prepare(caller, body))

    @endpoint("GET", "/api/streams/{stream_id}", problems=(StreamNotFound,))
    async def get_stream(self, caller: Caller | None, path: StreamPath) -> StreamView:
        """A stream, prepared, live or past, and what is known of its recording.

        `stream_id` in the answer is the stream's own, also when it was asked for by the id that it was announced under.
        """
        [stream] = await self._audience.shown([await self._finding.seen_by(caller, path.stream_id)])
        return stream

    @endpoint(
        "PATCH",
        "/api/streams/{stream_id}",
        problems=(StreamNotFound, NotYourStream, NotPrepared, StreamIsOver),
    )
    async def change_stream(self, caller: Caller, path: StreamPath, body: StreamChange) -> StreamView:
        """Change a stream of one's own that is prepared or on; what is left out stays."""
        stream = await self._finding.owned_by(caller, path.stream_id)
        if stream.status is StreamStatus.PREPARED:
            if await self._preparing.change(stream.stream_id, body):
                return await self._finding.find(stream.stream_id)
            stream = await self._finding.owned_by(caller, path.stream_id)  # it has begun meanwhile
        if stream.status is StreamStatus.ENDED or not await self._changing.change(stream.stream_id, body):
            raise StreamIsOver("what is over stays as it was")
        return await self._finding.find(stream.stream_id)

    @endpoint("DELETE", "/api/streams/{stream_id}", problems=(StreamNotFound, NotYourStream, StreamHasBegun))
    async def drop_stream(self, caller: Caller, path: StreamPath) -> None:
        """Drop a stream of one's own that is prepared and has not begun."""
        stream = await self._finding.owned_by(caller, path.stream_id)
        if stream.status is not StreamStatus.PREPARED or not await self._preparing.drop(stream.stream_id):
            raise StreamHasBegun("it has begun: end it instead")

    @endpoint("POST", "/api/streams/{stream_id}/end", problems=(StreamNotFound, NotYourStream, NotPrepared))
    async def end_stream(self, caller: Caller, path: StreamPath) -> StreamView:
        """End a stream of one's own; operators may end any.

        The publisher is dropped. Ending a stream that is over changes nothing and answers the same.
        """
        stream = await self._finding.owned_by(caller, path.stream_id, or_operator=True)
        return await self._end(stream, EndReason.STREAMER if is_own(stream, caller) else EndReason.KICKED)

    @endpoint(
        "POST", "/api/streams/{stream_id}/kick", problems=(StreamNotFound, NotYourStream, NotPrepared, StreamIsOver)
    )
    async def kick_stream(self, caller: Caller, path: StreamPath, body: Kick) -> StreamView:
        """End a stream and let its channel not stream for a while; of one's own, or for operators anybody's.

        The publisher is dropped and refused from then on. A ban of one's own is lifted by a new stream key, or by
        `DELETE /api/channels/{channel_id}/ban`; an operator's by an operator alone.
        """
        stream = await self._finding.owned_by(caller, path.stream_id, or_operator=True)
        if stream.status is StreamStatus.ENDED and stream.end_reason != EndReason.KICKED:
            raise StreamIsOver("nobody is publishing to a stream that is over")
        # First, so that a publisher who comes back at once is refused.
        if stream.status is not StreamStatus.PREPARED:
            await self._bans.ban(stream.channel_id, caller, seconds=body.seconds, reason=body.reason)
        return await self._end(stream, EndReason.KICKED)

    async def _end(self, stream: StreamView, reason: EndReason) -> StreamView:
        if stream.status is StreamStatus.PREPARED:
            raise NotPrepared("it has not begun: drop it instead")
        if stream.status is not StreamStatus.ENDED:
            await self._publishing.end(stream.stream_id, reason)
        return await self._finding.find(stream.stream_id)
