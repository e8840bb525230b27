"""Completes recordings whose chunks are all done: rendition playlists, then rows, master and event in one commit.

A chunk that failed for good costs its renditions nothing but itself: for as long they play the source, between
discontinuities. Only when more than half of the chunks have failed has the ladder failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from archive import metrics
from archive.ladder.chunks import Chunks, ChunkState, FinishedLadder, make_again
from archive.ladder.ladder import SourceSegment
from archive.ladder.rendition_entries import Piece, entries_of, pieces_of
from archive.media.playlist import bits_per_second, vod_playlist
from archive.objects.keys import INDEX, PLAYLIST, chunk_name, rendition_key
from archive.outages import SUSPECTS, is_outage
from archive.outcome import complete, fail
from archive.publishing.masters import write_master
from archive.store import QUERIES, Recordings
from eventbus.outbox import Outbox
from runtime.backoff import Backoff
from runtime.objects import ObjectStore
from runtime.postgres import Pool
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
LADDERS_MAX = 10


@dataclass(frozen=True, slots=True)
class _Judged:
    """Of the renditions that play: bits per second, peak and average, and size; those that do not; why none does."""

    ready: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    unmade: list[str] = field(default_factory=list)
    failure: str | None = None


class Completion:
    """Completes recordings. A service; any number of processes may run one: the row changes once."""

    name = "completion"

    def __init__(self, pool: Pool, outbox: Outbox, objects: ObjectStore) -> None:
        self._pool = pool
        self._chunks = Chunks(pool)
        self._recordings = Recordings(pool)
        self._outbox = outbox
        self._objects = objects

    async def run(self) -> None:
        """Complete until cancelled."""
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                await self.complete_finished()
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("completion_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
            await asyncio.sleep(POLL_SECONDS)

    async def complete_finished(self) -> None:
        """Complete every recording that has no chunk left to make."""
        for ladder in await self._chunks.finished_ladders(rows_max=LADDERS_MAX):
            with (
                trace_scope(ladder.traceparent),
                structlog.contextvars.bound_contextvars(stream_id=str(ladder.stream_id)),
            ):
                await self._complete(ladder)

    async def _complete(self, ladder: FinishedLadder) -> None:
        stream_id = ladder.stream_id
        rows = await QUERIES.list_renditions(self._pool, stream_id=stream_id)
        making = [row for row in rows if row["state"] == "making"]
        chunks = await self._chunks.all(stream_id) if making else []
        judged = _Judged(failure=_failure(chunks))
        if judged.failure is None:
            source = await self._source_of(stream_id, chunks, [row["name"] for row in making])
            for row in making:
                if not await self._complete_rendition(stream_id, row, chunks, source, judged):
                    return
        await self._say(stream_id, judged)

    async def _source_of(
        self, stream_id: UUID, chunks: Sequence[ChunkState], names: Sequence[str]
    ) -> list[SourceSegment]:
        """The source's segments, if any rendition needs some of them."""
        if all(name in chunk.made for chunk in chunks for name in names):
            return []
        return await self._recordings.segments(stream_id)

    async def _complete_rendition(
        self,
        stream_id: UUID,
        row: Mapping[str, Any],
        chunks: Sequence[ChunkState],
        source: Sequence[SourceSegment],
        judged: _Judged,
    ) -> bool:
        """Write one rendition's playlist; false when the store lacks some of it, which is then made again."""
        name = row["name"]
        if 2 * sum(name in chunk.made for chunk in chunks) < len(chunks):
            # Sound that only a little of the source has, say.
            judged.unmade.append(name)
            return True
        if not await self._all_in_store(stream_id, name, chunks):
            return False
        pieces = pieces_of(name, chunks, source)
        index = rendition_key(stream_id, name, INDEX)
        await self._objects.put_bytes(index, vod_playlist(entries_of(pieces)).encode(), PLAYLIST)
        judged.ready[name] = bits_per_second([(piece.size_bytes, piece.duration_ms) for piece in pieces])
        judged.sizes_bytes[name] = sum(piece.size_bytes for piece in pieces if not piece.of_source)
        _tell_of_substitutes(name, pieces)
        return True

    async def _all_in_store(self, stream_id: UUID, rendition: str, chunks: Sequence[ChunkState]) -> bool:
        prefix = rendition_key(stream_id, rendition, "")
        sizes = {stored.key: stored.size_bytes async for stored in self._objects.list(prefix)}
        absent = [
            chunk.number
            for chunk in chunks
            if rendition in chunk.made
            and sizes.get(prefix + chunk_name(chunk.number, chunk.fence)) != chunk.made[rendition].size_bytes
        ]
        if absent:
            log.error("chunks_not_in_store", rendition=rendition, absent=absent[:20], absent_chunks=len(absent))
            async with self._pool.acquire() as connection, connection.transaction():
                await make_again(connection, stream_id, absent)
        return not absent

    async def _say(self, stream_id: UUID, judged: _Judged) -> None:
        now = datetime.now(UTC)
        async with self._outbox.transaction() as transaction:
            # The recording is locked first, as everybody does; one that was removed meanwhile has nothing to complete.
            if await QUERIES.lock_master(transaction.connection, stream_id=stream_id) is None:
                return
            if judged.failure is not None:
                said = await fail(transaction, stream_id, reason=judged.failure, now=now)
                await QUERIES.fail_renditions(transaction.connection, stream_id=stream_id)
            else:
                for name, (peak, average) in judged.ready.items():
                    await QUERIES.ready_rendition(
                        transaction.connection, stream_id=stream_id, name=name, peak=peak, average=average
                    )
                await QUERIES.fail_renditions(transaction.connection, stream_id=stream_id)
                names = await write_master(transaction, self._objects, stream_id)
                if await complete(transaction, stream_id, renditions=names, now=now):
                    size_bytes = sum(judged.sizes_bytes.values())
                    await QUERIES.add_size(transaction.connection, stream_id=stream_id, size_bytes=size_bytes)
                said = False
        if said:
            metrics.recordings_failed.labels("ladder").inc()


def _failure(chunks: Sequence[ChunkState]) -> str | None:
    """Why there is no ladder: more than half of the chunks could not be made. None: there is one."""
    failed = [chunk for chunk in chunks if chunk.state == "failed"]
    if 2 * len(failed) <= len(chunks):
        return None
    reason = next((chunk.failure for chunk in failed if chunk.failure), "no reason was given")
    return f"{len(failed)} of {len(chunks)} chunks could not be made: {reason}"


def _tell_of_substitutes(rendition: str, pieces: Sequence[Piece]) -> None:
    substitutes = sum(piece.of_source for piece in pieces)
    if substitutes:
        log.warning("source_plays_for_lost_chunks", rendition=rendition, segments=substitutes)
