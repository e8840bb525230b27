"""Writes viewers to Postgres once a minute, all streams in one statement, and a zero when a stream is over.

Any number of processes may do it: one of them writes a minute, and should two, the greater figure stays.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from runtime.postgres import Connection, Pool
from runtime.redis_batches import RedisAway
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics, store
from streaming.viewers.counts import Count, ViewerCounts, sums

log = structlog.get_logger(__name__)

MINUTE_SECONDS: Final = 60.0
LOOKED_BACK: Final = timedelta(hours=1)
"""How long this may have been down, and still write the zero of a stream that ended meanwhile."""
STREAMS_AT_ONCE_MAX: Final = 500


class StatsKeeper:
    """A Service that writes at the beginning of every minute."""

    name = "stream-stats"

    def __init__(self, pool: Pool, counts: ViewerCounts) -> None:
        self._pool = pool
        self._counts = counts

    async def run(self) -> None:
        """Write until cancelled; a minute that cannot be written is left out."""
        while True:
            await asyncio.sleep(MINUTE_SECONDS - time.time() % MINUTE_SECONDS)
            try:
                await self.keep()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("stream_stats_not_kept", reason=str(error) or type(error).__name__)

    async def keep(self) -> int:
        """Write this minute; of how many streams (none: another process is at it)."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.queries.is_keeping_stream_stats(connection):
                return 0
            watched = await store.queries.list_watched_streams(connection, looked_back=LOOKED_BACK)
            counted: dict[UUID, Count] = {}
            for first in range(0, len(watched), STREAMS_AT_ONCE_MAX):
                counted.update(await self._count(watched[first : first + STREAMS_AT_ONCE_MAX]))
            await _keep(connection, counted)
        metrics.viewers.set(sum(count.viewers for count in counted.values()))
        return len(counted)

    async def _count(self, watched: Sequence[asyncpg.Record]) -> Mapping[UUID, Count]:
        counted = await asyncio.gather(*(self._count_one(row) for row in watched))
        return {row["stream_id"]: count for row, count in zip(watched, counted, strict=True) if count is not None}

    async def _count_one(self, row: asyncpg.Record) -> Count | None:
        """What is to be written of a stream; None while it is open and nobody can count."""
        kept = Count(0, row["unique_viewers"], row["peak_viewers"])
        try:
            count = await self._counts.count_on(row["stream_id"], kept)
        except RedisAway:
            return None if row["open"] else kept
        return count if row["open"] else Count(0, count.unique_viewers, count.peak_viewers)


async def _keep(connection: Connection, counted: Mapping[UUID, Count]) -> None:
    if counted:
        stream_ids, viewers, unique_viewers, peak_viewers = sums(counted)
        await store.queries.keep_stream_stats(
            connection,
            stream_ids=stream_ids,
            viewers=viewers,
            unique_viewers=unique_viewers,
            peak_viewers=peak_viewers,
        )
