"""Chunks of the ladder: jobs that turn consecutive source segments into one segment of every rendition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from archive.jobs import NewJob, add_jobs
from archive.ladder import Chunk, Rendition
from archive.store import QUERIES, SEGMENTS_MAX
from runtime.postgres import Connection, Pool

CHUNK = "chunk"


@dataclass(frozen=True, slots=True)
class ChunkSegment:
    """What one chunk became in one rendition."""

    size_bytes: int
    codecs: str | None


@dataclass(frozen=True, slots=True)
class ChunkState:
    """One chunk in playing order; ``made`` by the name of the rendition, empty until it is done."""

    number: int
    first_sequence: int
    last_sequence: int
    discontinuity: bool
    duration_ms: int
    state: str
    fence: int
    made: Mapping[str, ChunkSegment]
    failure: str | None


@dataclass(frozen=True, slots=True)
class WantedRendition:
    """A rendition of a recording that chunks are made for; ``codecs`` once a chunk has told them."""

    rendition: Rendition
    codecs: str | None


@dataclass(frozen=True, slots=True)
class FinishedLadder:
    """A playing recording that has no chunk left to make."""

    stream_id: UUID
    traceparent: str | None


async def plan(
    connection: Connection, stream_id: UUID, renditions: Sequence[Rendition], frame_rate: float, chunks: Sequence[Chunk]
) -> None:
    """Make the rows of renditions and the jobs of chunks; those that exist are left alone."""
    for rank, rendition in enumerate(renditions, start=1):
        await QUERIES.plan_rendition(
            connection,
            stream_id=stream_id,
            name=rendition.name,
            rank=rank,
            width_px=rendition.width_px,
            height_px=rendition.height_px,
            frame_rate=frame_rate if rendition.height_px > 0 else 0.0,
            video_bits_per_second_max=rendition.video_bits_per_second_max,
        )
    await add_jobs(connection, [_job(stream_id, chunk) for chunk in chunks] if renditions else [])


def _job(stream_id: UUID, chunk: Chunk) -> NewJob:
    return NewJob(stream_id, CHUNK, chunk.number, particulars(chunk), work_ms=chunk.duration_ms)


def particulars(chunk: Chunk) -> dict[str, object]:
    """What a chunk's job needs to know."""
    return {
        "first_sequence": chunk.first_sequence,
        "last_sequence": chunk.last_sequence,
        "discontinuity": chunk.discontinuity,
    }


class Chunks:
    """The chunks of all recordings in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self, stream_id: UUID) -> list[ChunkState]:
        """A recording's chunks in playing order."""
        rows = await QUERIES.list_chunks(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return [_state(row) for row in rows]

    async def wanted(self, stream_id: UUID) -> list[WantedRendition]:
        """The renditions that a recording's chunks are made for, best first."""
        rows = await QUERIES.list_wanted_renditions(self._pool, stream_id=stream_id)
        return [
            WantedRendition(
                Rendition(row["name"], row["width_px"], row["height_px"], row["video_bits_per_second_max"]),
                row["codecs"],
            )
            for row in rows
        ]

    async def finished_ladders(self, *, rows_max: int) -> list[FinishedLadder]:
        """Recordings that wait for nothing but their last playlists."""
        rows = await QUERIES.list_finished_ladders(self._pool, rows_max=rows_max)
        return [FinishedLadder(**row) for row in rows]


async def make_again(connection: Connection, stream_id: UUID, numbers: Sequence[int]) -> None:
    """Chunks that were done are to be made again: the store does not have their objects."""
    await QUERIES.make_again(connection, stream_id=stream_id, numbers=numbers)
    await QUERIES.add_turns(connection, stream_ids=[stream_id], urgencies=[1])


def _state(row: Mapping[str, Any]) -> ChunkState:
    told = json.loads(row["particulars"])
    made = json.loads(row["result"]) if row["result"] is not None and row["state"] == "done" else {}
    return ChunkState(
        number=row["number"],
        first_sequence=told["first_sequence"],
        last_sequence=told["last_sequence"],
        discontinuity=told["discontinuity"],
        duration_ms=row["work_ms"],
        state=row["state"],
        fence=row["fence"],
        made={name: ChunkSegment(one["size_bytes"], one.get("codecs")) for name, one in made.items()},
        failure=row["failure"],
    )
