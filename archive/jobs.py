"""Transcoding jobs: leased rows with a fence.

A worker leases a row, says now and then that it is alive, and finishes it. Every lease has a higher fence than the one
before, and only the holder of the latest may finish: of two workers on one job only one wins, whatever the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from archive.errors import LeaseLost
from archive.ladder import Chunk
from archive.store import QUERIES, SEGMENTS_MAX
from runtime.postgres import Connection, Pool

FAILURE_CHARACTERS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class LeasedChunk:
    """One job in our hands; ``attempts`` counts this lease, ``failure`` is what ended the one before."""

    stream_id: UUID
    rendition: str
    number: int
    first_sequence: int
    last_sequence: int
    duration_ms: int
    fence: int
    attempts: int
    failure: str | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class ChunkState:
    """One job of a rendition, in playing order."""

    number: int
    duration_ms: int
    discontinuity: bool
    state: str
    fence: int
    size_bytes: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class FinishedLadder:
    """A playing recording that has no job left."""

    stream_id: UUID
    traceparent: str | None


async def add_chunks(connection: Connection, stream_id: UUID, rendition: str, chunks: Sequence[Chunk]) -> None:
    """Make the jobs of one rendition."""
    await QUERIES.add_chunks(
        connection,
        stream_id=stream_id,
        rendition=rendition,
        numbers=[chunk.number for chunk in chunks],
        first_sequences=[chunk.first_sequence for chunk in chunks],
        last_sequences=[chunk.last_sequence for chunk in chunks],
        durations_ms=[chunk.duration_ms for chunk in chunks],
        discontinuities=[chunk.discontinuity for chunk in chunks],
    )


class Jobs:
    """The jobs of all recordings, for one worker."""

    def __init__(self, pool: Pool, *, lease_seconds: float) -> None:
        self._pool = pool
        self.lease_seconds = lease_seconds

    async def lease(self) -> LeasedChunk | None:
        """The next job, or None when there is none to do now."""
        row = await QUERIES.lease_chunk(self._pool, lease_seconds=self.lease_seconds)
        return None if row is None else LeasedChunk(**row)

    async def extend(self, chunk: LeasedChunk) -> None:
        """Say that the work goes on. Raises LeaseLost."""
        _held(chunk, await QUERIES.extend_lease(self._pool, lease_seconds=self.lease_seconds, **_key(chunk)))

    async def finish(self, chunk: LeasedChunk, *, size_bytes: int, codecs: str | None) -> None:
        """The chunk's object is in the store. Raises LeaseLost."""
        async with self._pool.acquire() as connection, connection.transaction():
            _held(chunk, await QUERIES.finish_chunk(connection, size_bytes=size_bytes, **_key(chunk)))
            if codecs is not None:
                await QUERIES.note_codecs(connection, stream_id=chunk.stream_id, name=chunk.rendition, codecs=codecs)

    async def retry(self, chunk: LeasedChunk, *, wait_seconds: float, failure: str, forgive_attempt: bool) -> None:
        """Give the job back for another try after a while. Raises LeaseLost."""
        changed = await QUERIES.retry_chunk(
            self._pool,
            wait_seconds=wait_seconds,
            failure=failure[:FAILURE_CHARACTERS_MAX],
            attempts_forgiven=int(forgive_attempt),
            **_key(chunk),
        )
        _held(chunk, changed)

    async def give_up(self, chunk: LeasedChunk, *, failure: str) -> None:
        """The job has failed for good, and with it its rendition. Raises LeaseLost."""
        async with self._pool.acquire() as connection, connection.transaction():
            failure = failure[:FAILURE_CHARACTERS_MAX]
            _held(chunk, await QUERIES.give_up_chunk(connection, failure=failure, **_key(chunk)))
            await QUERIES.give_up_waiting(connection, stream_id=chunk.stream_id, rendition=chunk.rendition)

    async def finished_ladders(self, *, rows_max: int) -> list[FinishedLadder]:
        """Recordings that wait for nothing but their last playlists."""
        rows = await QUERIES.list_finished_ladders(self._pool, rows_max=rows_max)
        return [FinishedLadder(**row) for row in rows]

    async def chunks(self, stream_id: UUID, rendition: str) -> list[ChunkState]:
        """A rendition's jobs in playing order."""
        rows = await QUERIES.list_chunks(self._pool, stream_id=stream_id, rendition=rendition, rows_max=SEGMENTS_MAX)
        return [ChunkState(**row) for row in rows]

    async def waiting(self) -> int:
        """How many jobs are not done."""
        count: int = await QUERIES.count_waiting_chunks(self._pool)
        return count


def _key(chunk: LeasedChunk) -> dict[str, object]:
    return {
        "stream_id": chunk.stream_id,
        "rendition": chunk.rendition,
        "number": chunk.number,
        "fence": chunk.fence,
    }


def _held(chunk: LeasedChunk, rows_changed: int) -> None:
    if rows_changed != 1:
        raise LeaseLost(chunk.stream_id, chunk.rendition, chunk.number, chunk.fence)
