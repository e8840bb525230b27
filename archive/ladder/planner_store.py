"""What the planner of ladders reads and locks in Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from archive.ladder.ladder import SourceSegment
from archive.store import QUERIES
from runtime.postgres import Connection, Pool


@dataclass(frozen=True, slots=True)
class LiveRecording:
    """A running stream, and how far its chunks are planned: ``number`` -1 and no ``last_sequence`` are none."""

    stream_id: UUID
    number: int
    last_sequence: int | None


class PlannerStore:
    """Recordings as their planner sees them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def unplanned(self, *, rows_max: int) -> list[tuple[UUID, str | None]]:
        """Recordings that play and have no whole plan yet, each with the trace of its end."""
        rows = await QUERIES.list_unplanned(self.pool, rows_max=rows_max)
        return [(row["stream_id"], row["traceparent"]) for row in rows]

    async def live(self, *, target_ms: int, skipped: list[UUID], rows_max: int) -> list[LiveRecording]:
        """Recordings that do not play yet and have about a chunk's segments that are in no chunk."""
        rows = await QUERIES.list_live_unplanned(
            self.pool, target_ms=target_ms, skipped=skipped, segments_max=64, rows_max=rows_max
        )
        return [LiveRecording(**row) for row in rows]

    async def contiguous(self, recording: LiveRecording, *, hole_seconds: float, rows_max: int) -> list[SourceSegment]:
        """The segments that are in no chunk, up to the first that is missing and may still come."""
        after = -1 if recording.last_sequence is None else recording.last_sequence
        rows = await QUERIES.list_segments_after(
            self.pool, stream_id=recording.stream_id, after=after, hole_seconds=hole_seconds, rows_max=rows_max
        )
        segments: list[SourceSegment] = []
        expected = after + 1
        for row in rows:
            if row["sequence"] != expected and not row["shipped_long_ago"]:
                break
            expected = row["sequence"] + 1
            segments.append(SourceSegment(row["sequence"], row["duration_ms"], row["size_bytes"], row["discontinuity"]))
        return segments

    async def lock_published(self, connection: Connection, stream_id: UUID) -> bool:
        """Whether it plays and has no whole plan; nobody else plans it until the transaction ends."""
        return await QUERIES.lock_unplanned(connection, stream_id=stream_id) is not None

    async def lock_live(self, connection: Connection, stream_id: UUID) -> bool:
        """Whether it does not play yet, and nobody else is planning it."""
        return await QUERIES.lock_live(connection, stream_id=stream_id) is not None

    async def note_planned(self, connection: Connection, stream_id: UUID) -> None:
        """All jobs of its chunks are there."""
        await QUERIES.note_ladder_planned(connection, stream_id=stream_id)
