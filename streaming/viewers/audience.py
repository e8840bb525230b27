"""How many watch, for those who show streams: asked of Redis at most every few seconds, for many streams at once."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from runtime.redis_batches import RedisAway
from streaming.viewers.counts import ViewerCounts

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

    async def _count(self, stream_id: UUID) -> int | None:
        try:
            return (await self._counts.count(stream_id)).viewers
        except RedisAway:
            return None
