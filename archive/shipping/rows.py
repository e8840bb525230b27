"""What the shipper reads and writes in Postgres; rows of shipped segments go in batches, for hundreds of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from archive.media.playlist import LiveSegment
from archive.outages import SUSPECTS
from archive.store import QUERIES, SEGMENTS_MAX, UNSETTLED_MAX
from runtime.postgres import Pool

ROWS_PER_STATEMENT_MAX = 500


@dataclass(frozen=True, slots=True)
class LostSegment:
    """A segment that was given up; ``duration_ms`` is None when no playlist that we saw has named it."""

    sequence: int
    reason: str
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class _Row:
    stream_id: UUID
    segment: LiveSegment
    size_bytes: int
    ended_at: datetime
    written: asyncio.Future[None]


class Shipments:
    """The shipper's rows. A service: what is noted waits for the batch before it, so many share one commit."""

    name = "shipped-rows"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rows: asyncio.Queue[_Row] = asyncio.Queue(ROWS_PER_STATEMENT_MAX)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            rows = [await self._rows.get()]
            while len(rows) < ROWS_PER_STATEMENT_MAX and not self._rows.empty():
                rows.append(self._rows.get_nowait())
            await self._write(rows)

    async def note_shipped(self, stream_id: UUID, segment: LiveSegment, size_bytes: int, ended_at: datetime) -> None:
        """The segment is in the store and has this size, and was written by then; saying it twice changes nothing.

        Raises what Postgres raised for its batch. Needs ``run``.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._rows.put(_Row(stream_id, segment, size_bytes, ended_at, written))
        await written

    async def _write(self, rows: Sequence[_Row]) -> None:
        try:
            await QUERIES.note_segments(
                self._pool,
                stream_ids=[row.stream_id for row in rows],
                sequences=[row.segment.sequence for row in rows],
                durations_ms=[row.segment.duration_ms for row in rows],
                sizes_bytes=[row.size_bytes for row in rows],
                discontinuities=[row.segment.discontinuity for row in rows],
                ended_at=[row.ended_at for row in rows],
            )
        except SUSPECTS as error:
            for row in rows:
                if not row.written.done():
                    row.written.set_exception(error)
        else:
            for row in rows:
                if not row.written.done():
                    row.written.set_result(None)

    async def note_lost(self, stream_id: UUID, segments: Sequence[LostSegment]) -> None:
        """These will not come; what has been shipped after all is left out."""
        async with self._pool.acquire() as connection, connection.transaction():
            for segment in segments:
                await QUERIES.note_lost(
                    connection,
                    stream_id=stream_id,
                    sequence=segment.sequence,
                    reason=segment.reason,
                    duration_ms=segment.duration_ms,
                )

    async def shipped(self, stream_id: UUID) -> set[int]:
        """The numbers of the segments that are in the store."""
        rows = await QUERIES.list_shipped(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return {row["sequence"] for row in rows}

    async def lost(self, stream_id: UUID) -> list[LostSegment]:
        """The segments that were given up, in order."""
        rows = await QUERIES.list_lost(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return [LostSegment(**row) for row in rows]

    async def unsettled(self) -> dict[UUID, str | None]:
        """Streams that are over and of which the last segments may not be shipped, each with the trace of its end."""
        rows = await QUERIES.list_unsettled(self._pool, rows_max=UNSETTLED_MAX)
        return {row["stream_id"]: row["traceparent"] for row in rows}

    async def settled_among(self, stream_ids: Sequence[UUID]) -> set[UUID]:
        """Those of ``stream_ids`` that need no shipper any more."""
        rows = await QUERIES.list_known(self._pool, stream_ids=stream_ids)
        return {row["stream_id"] for row in rows if row["settled_at"] is not None}

    async def played_for(self, keep_seconds: float, stream_ids: Sequence[UUID]) -> list[UUID]:
        """Those of ``stream_ids`` whose recording has played for ``keep_seconds``."""
        rows = await QUERIES.list_swept(self._pool, stream_ids=stream_ids, keep_seconds=keep_seconds)
        return [row["stream_id"] for row in rows]

    async def settle(self, stream_id: UUID) -> int | None:
        """Nothing more will be shipped; the number of segments, or None when it was said before."""
        async with self._pool.acquire() as connection, connection.transaction():
            await QUERIES.forget_found(connection, stream_id=stream_id)
            segments: int | None = await QUERIES.settle(connection, stream_id=stream_id)
        return segments
