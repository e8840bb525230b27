"""How many watch, for those who show streams: asked of Redis at most every few seconds, for many streams at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar
from uuid import UUID

from runtime.queries import Executor
from runtime.redis_batches import RedisAway
from streaming.streams.views import LiveStreamsPage, LiveStreamView, StreamStatus
from streaming.viewers.counts import ViewerCounts

View = TypeVar("View", bound=LiveStreamView)
Query = TypeVar("Query")

FRESH_SECONDS: Final = 5.0
STREAMS_MAX: Final = 5_000


class Audience:
    """Counts of viewers, seconds old. A stream that nobody can count has None."""

    def __init__(self, counts: ViewerCounts) -> None:
        self._counts = counts
        self._known: dict[UUID, tuple[float, int | None]] = {}

    async def of(self, stream_id: UUID) -> int | None:
        """How many watch a stream; None: it cannot be said."""
        return (await self.of_all([stream_id]))[stream_id]

    async def of_all(self, stream_ids: Iterable[UUID]) -> Mapping[UUID, int | None]:
        """How many watch each of these."""
        wanted = list(stream_ids)
        oldest = asyncio.get_running_loop().time() - FRESH_SECONDS
        missing = [one for one in wanted if self._known.get(one, (float("-inf"), None))[0] < oldest]
        if missing:
            if len(self._known) + len(missing) > STREAMS_MAX:
                self._known.clear()
                missing = wanted
            now = asyncio.get_running_loop().time()
            counted = await asyncio.gather(*(self._count(one) for one in missing))
            self._known.update((one, (now, count)) for one, count in zip(missing, counted, strict=True))
        return {one: self._known[one][1] for one in wanted}

    async def shown(self, streams: Sequence[View]) -> list[View]:
        """The same streams, with how many watch those that are on."""
        on = [one.stream_id for one in streams if one.status in (StreamStatus.LIVE, StreamStatus.INTERRUPTED)]
        counts = await self.of_all(on)
        return [one.model_copy(update={"viewers": counts.get(one.stream_id)}) for one in streams]

    def showing(
        self, read: Callable[[Executor, Query], Awaitable[LiveStreamsPage]]
    ) -> Callable[[Executor, Query], Awaitable[LiveStreamsPage]]:
        """What reads pages, with how many watch."""

        async def read_and_show(database: Executor, query: Query) -> LiveStreamsPage:
            page = await read(database, query)
            return page.model_copy(update={"items": await self.shown(page.items)})

        return read_and_show

    async def _count(self, stream_id: UUID) -> int | None:
        try:
            return (await self._counts.count(stream_id)).viewers
        except RedisAway:
            return None
