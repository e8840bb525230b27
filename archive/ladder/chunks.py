"""Chunks of the ladder: jobs that turn consecutive source segments into one segment of every rendition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from archive.jobs.jobs import USUAL
from archive.ladder.ladder import Chunk, Rendition
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


async def plan_renditions(
    connection: Connection, stream_id: UUID, renditions: Sequence[Rendition], frame_rate: float
) -> None:
    """Make the rows of renditions that will be made; those that exist are left alone."""
    for rank, rendition in enumerate(renditions, start=1):
        await QUERIES.plan_rendition(
            connection,
            stream_id=stream_id,
            name=rendition.name,
            rank=rank,
            width_px=rendition.width_px,
            height_px=rendition.height_px,
            frame_rate=frame_rate if rendition.has_video else 0.0,
            video_bits_per_second_max=rendition.video_bits_per_second_max,
        )


async def extend(connection: Connection, stream_id: UUID, chunks: Sequence[Chunk], *, whole: bool = True) -> None:
    """Make the jobs of chunks. One that was planned otherwise is made again; if they are the whole, others are dropped.

    The recording's row must be locked: jobs and turns come after it.
    """
    await QUERIES.plan_chunks(
        connection,
        stream_id=stream_id,
        numbers=[chunk.number for chunk in chunks],
        particulars=[json.dumps(_particulars(chunk)) for chunk in chunks],
        work_ms=[chunk.duration_ms for chunk in chunks],
    )
    if whole:
        await QUERIES.drop_chunks_from(connection, stream_id=stream_id, number=len(chunks))
    await QUERIES.add_turns(connection, stream_ids=[stream_id], urgencies=[USUAL])


def _particulars(chunk: Chunk) -> dict[str, object]:
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
    await QUERIES.add_turns(connection, stream_ids=[stream_id], urgencies=[USUAL])


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
