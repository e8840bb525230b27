"""Recordings and their segments in Postgres."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from archive.errors import MediaRefused
from archive.ladder.ladder import SourceSegment
from archive.media.playlist import LiveSegment
from archive.publishing.gaps import LostSegment
from runtime.postgres import Connection, Pool, load_queries
from runtime.queries import Executor

QUERIES = load_queries("archive")

# 2 s segments for more than two days; a recording beyond it is refused, not cut.
SEGMENTS_MAX = 100_000
UNSETTLED_MAX = 1_000

Status = Literal["pending", "processing", "completed", "failed"]
Visibility = Literal["public", "unlisted", "private"]


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """An object beside segments and playlists. ``name`` is its key below the recording's folder."""

    name: str
    role: str
    size_bytes: int
    particulars: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, whoever may see it (`archive.visibility` knows). ``published_at`` is set once it plays.

    ``missing`` lists the gaps of a ``partial`` one (`archive.gaps`).
    """

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    status: Status
    started_at: datetime
    ended_at: datetime | None
    settled_at: datetime | None
    published_at: datetime | None
    completed_at: datetime | None
    failure: str | None
    duration_ms: int | None
    partial: bool
    missing: Sequence[Mapping[str, Any]]
    visibility: Visibility
    preserve: bool
    deleted_at: datetime | None
    purge_due_at: datetime | None
    purged_at: datetime | None
    delete_reason: str | None
    clip_of: UUID | None
    clip_from_ms: int | None
    clip_to_ms: int | None
    replaced_by: UUID | None
    progress_percent: int
    size_bytes: int | None
    edited_at: datetime | None
    renditions: Sequence[str]
    files: Sequence[RecordingFile]


@dataclass(frozen=True, slots=True)
class SettledRecording:
    """A recording of which everything has been shipped, claimed for finalising."""

    stream_id: UUID
    channel_id: UUID
    ended_at: datetime
    segments_expected: int
    finalise_attempts: int
    clip_of: UUID | None
    traceparent: str | None
    started_at: datetime


class Recordings:
    """Reads, and the writes that say nothing to others."""

    def __init__(self, pool: Pool, reads: Executor | None = None) -> None:
        self._pool = pool
        self._reads: Executor = reads or pool
        """For lists, which may be a moment old."""

    async def find(self, stream_id: UUID) -> Recording | None:
        """One recording, seen by anybody or not."""
        rows = await QUERIES.find_recordings(self._pool, stream_ids=[stream_id])
        return _recording(rows[0]) if rows else None

    async def page(
        self, *, before: UUID, rows_max: int, channel_id: UUID | None, everything: bool = False
    ) -> list[Recording]:
        """Public recordings with an id below ``before``, newest first; ``everything`` of a channel: its owner asks."""
        where: dict[str, object] = {"before": before, "rows_max": rows_max}
        if channel_id is None:
            rows = await QUERIES.list_public(self._reads, **where)
        elif everything:
            rows = await QUERIES.list_channel_recordings(self._reads, channel_id=channel_id, **where)
        else:
            rows = await QUERIES.list_channel_public(self._reads, channel_id=channel_id, **where)
        found = await QUERIES.find_recordings(self._reads, stream_ids=[row["stream_id"] for row in rows])
        return [_recording(row) for row in found]

    async def find_all(self, stream_ids: Sequence[UUID]) -> list[Recording]:
        """Those of ``stream_ids`` that there are, newest first; seen by anybody or not."""
        found = await QUERIES.find_recordings(self._pool, stream_ids=stream_ids)
        return [_recording(row) for row in found]

    async def unsettled(self) -> dict[UUID, str | None]:
        """Streams that are over and of which the last segments may not be shipped, each with the trace of its end."""
        rows = await QUERIES.list_unsettled(self._pool, rows_max=UNSETTLED_MAX)
        return {row["stream_id"]: row["traceparent"] for row in rows}

    async def settled_among(self, stream_ids: Sequence[UUID]) -> set[UUID]:
        """Those of ``stream_ids`` that need no shipper any more."""
        rows = await QUERIES.list_known(self._pool, stream_ids=stream_ids)
        return {row["stream_id"] for row in rows if row["settled_at"] is not None}

    async def shipped(self, stream_id: UUID) -> set[int]:
        """The numbers of the segments that are in the store."""
        rows = await QUERIES.list_shipped(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return {row["sequence"] for row in rows}

    async def note_shipped(self, stream_id: UUID, segment: LiveSegment, size_bytes: int) -> None:
        """The segment is in the store and has this size; saying it twice changes nothing."""
        await QUERIES.note_segment(
            self._pool,
            stream_id=stream_id,
            sequence=segment.sequence,
            duration_ms=segment.duration_ms,
            size_bytes=size_bytes,
            discontinuity=segment.discontinuity,
        )

    async def segments(self, stream_id: UUID) -> list[SourceSegment]:
        """All segments of a stream in order. Raises MediaRefused when there are too many."""
        rows = await QUERIES.list_segments(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX + 1)
        if len(rows) > SEGMENTS_MAX:
            raise MediaRefused(f"it has more than {SEGMENTS_MAX} segments")
        return [SourceSegment(**row) for row in rows]

    async def segment_ends(self, stream_id: UUID) -> Mapping[int, datetime]:
        """When the segments of a stream had been written, by their numbers, as far as that is known."""
        rows = await QUERIES.list_segment_ends(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return {row["sequence"]: row["ended_at"] for row in rows}

    async def lost_segments(self, stream_id: UUID) -> list[LostSegment]:
        """The segments of a stream that were given up, in order."""
        rows = await QUERIES.list_lost(self._pool, stream_id=stream_id, rows_max=SEGMENTS_MAX)
        return [LostSegment(**row) for row in rows]

    async def segment_range(self, stream_id: UUID, first: int, last: int) -> list[SourceSegment]:
        """Consecutive segments of a stream."""
        rows = await QUERIES.list_segment_range(
            self._pool, stream_id=stream_id, first_sequence=first, last_sequence=last, rows_max=last - first + 1
        )
        return [SourceSegment(**row) for row in rows]

    async def running(self, *, besides: Sequence[UUID], rows_max: int) -> list[UUID]:
        """Streams that run and of which something has been shipped, the newest first, besides some."""
        rows = await QUERIES.list_running(self._pool, besides=besides, rows_max=rows_max)
        return [row["stream_id"] for row in rows]

    async def settle_abandoned(self, *, after_seconds: float) -> list[UUID]:
        """Settle streams that ended so long ago and of which nothing has been shipped for as long; which they are."""
        rows = await QUERIES.settle_abandoned(self._pool, after_seconds=after_seconds, rows_max=UNSETTLED_MAX)
        return [row["stream_id"] for row in rows]

    async def claim_settled(self, *, claim_seconds: float) -> SettledRecording | None:
        """One settled recording that nobody else is given for ``claim_seconds``."""
        row = await QUERIES.claim_settled(self._pool, claim_seconds=claim_seconds)
        return None if row is None else SettledRecording(**row)

    async def return_claim(self, stream_id: UUID, *, wait_seconds: float, forgive_attempt: bool) -> None:
        """Let it be claimed again after a while."""
        await QUERIES.return_claim(
            self._pool, stream_id=stream_id, wait_seconds=wait_seconds, attempts_forgiven=int(forgive_attempt)
        )

    async def ship_again(self, stream_id: UUID, sequences: Sequence[int], *, wait_seconds: float, reason: str) -> None:
        """The store does not have these segments after all: lost for ``reason``, unless the shipper still has them."""
        async with self._pool.acquire() as connection, connection.transaction():
            await QUERIES.lose_segments(connection, stream_id=stream_id, sequences=sequences, reason=reason)
            await QUERIES.unsettle(connection, stream_id=stream_id, wait_seconds=wait_seconds)


async def note_started(
    connection: Connection,
    *,
    stream_id: UUID,
    channel_id: UUID,
    channel_name: str,
    title: str,
    started_at: datetime,
    visibility: Visibility = "public",
) -> None:
    """There will be a recording of this stream."""
    await QUERIES.note_started(
        connection,
        stream_id=stream_id,
        channel_id=channel_id,
        channel_name=channel_name,
        title=title,
        visibility=visibility,
        started_at=started_at,
    )


async def note_ended(
    connection: Connection,
    *,
    stream_id: UUID,
    channel_id: UUID,
    started_at: datetime,
    ended_at: datetime,
    traceparent: str | None,
) -> None:
    """The stream is over; works whether or not its start was noted."""
    await QUERIES.note_ended(
        connection,
        stream_id=stream_id,
        channel_id=channel_id,
        started_at=started_at,
        ended_at=ended_at,
        traceparent=traceparent,
    )


async def make_partitions(connection: Connection, months_ahead: int) -> int:
    """Make the partitions of this month and the coming ones; how many were missing."""
    return len(await QUERIES.make_partitions(connection, months_ahead=months_ahead))


def _recording(row: asyncpg.Record) -> Recording:
    fields = dict(row)
    fields["missing"] = json.loads(fields["missing"] or "[]")
    fields["files"] = [RecordingFile(**file) for file in json.loads(fields["files"] or "[]")]
    return Recording(**fields)
