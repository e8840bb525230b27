"""Makes clips: copies segments within the store, cuts those at exact edges, and hands the clip to the finaliser.

Every lease numbers the clip's segments from a beginning of its own, so two workers on one clip never write the same
object, and the one that lost removes what it made. Nothing of the original is named: deleting it does not hurt a clip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from archive import metrics
from archive.clips.cutting import Cutter
from archive.clips.plan import ClipPlan, ClipRange, Piece, plan_clip
from archive.clips.store import CLIP, ClipOrder, find_order, timed_segments
from archive.errors import MediaRefused
from archive.jobs.jobs import LeasedJob
from archive.ladder.transcode import EncoderBudget
from archive.objects.keys import SEGMENT, source_segment_key
from archive.outcome import fail
from archive.parts import ArchiveParts
from archive.store import QUERIES, SEGMENTS_MAX
from eventbus.outbox import Transaction
from runtime.objects import ObjectMissing, ObjectStore, ObjectStoreError
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

COPIES_AT_ONCE = 8
# Leases that are as far apart as this have the same numbers: no two that far apart are alive together, and the numbers
# stay below 2^31.
LEASES_APART = 20_000


@dataclass(frozen=True, slots=True)
class MadeSegment:
    """One segment of a clip in the store; ``range`` is where it is in the original."""

    sequence: int
    size_bytes: int
    discontinuity: bool
    range: ClipRange


class ClipKind:
    """Does the jobs that make clips."""

    name = CLIP

    def __init__(self, pool: Pool, objects: ObjectStore, cutter: Cutter) -> None:
        self._pool = pool
        self._objects = objects
        self._cutter = cutter

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """Copy and cut. Raises MediaRefused, ProcessError, StoreUnavailable."""
        order = await find_order(self._pool, job.stream_id)
        if order is None or order.clip_is_deleted:
            raise MediaRefused("nobody wants it any more")
        plan = await self._plan(order)
        made = [one for one in await self._make_all(job, order, plan, report) if one is not None]
        if not made:
            raise MediaRefused("nothing of that range is in the store")
        if len(made) < len(plan.pieces) and order.original_is_deleted:
            raise MediaRefused("the recording was deleted meanwhile")
        return _result(made)

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Write the segments' rows and let the finaliser have the clip."""
        connection, clip_id = transaction.connection, job.stream_id
        await QUERIES.add_segments(
            connection,
            stream_id=clip_id,
            sequences=result["sequences"],
            durations_ms=result["durations_ms"],
            sizes_bytes=result["sizes_bytes"],
            discontinuities=result["discontinuities"],
        )
        await QUERIES.settle_clip(
            connection,
            stream_id=clip_id,
            segments=len(result["sequences"]),
            from_ms=result["from_ms"],
            to_ms=result["to_ms"],
        )
        log.info("clip_made", segments=len(result["sequences"]), from_ms=result["from_ms"], to_ms=result["to_ms"])

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """There will be no clip."""
        if await fail(transaction, job.stream_id, reason=reason, now=datetime.now(UTC)):
            metrics.recordings_failed.labels("clip").inc()

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Remove what this lease has made; the winner's segments have other numbers."""
        for sequence in result["sequences"]:
            with suppress(ObjectStoreError):
                await self._objects.delete(source_segment_key(job.stream_id, sequence))

    async def _plan(self, order: ClipOrder) -> ClipPlan:
        segments = await timed_segments(self._pool, order.original_id, order.range)
        plan = plan_clip(segments, order.range, exact=order.exact)
        if plan is None:
            raise MediaRefused("nothing of that range is in the store")
        first, last = plan.pieces[0].sequence, plan.pieces[-1].sequence
        if last - first >= SEGMENTS_MAX:
            raise MediaRefused(f"its range has more than {SEGMENTS_MAX} segments")
        return plan

    async def _make_all(
        self, job: LeasedJob, order: ClipOrder, plan: ClipPlan, report: Callable[[float], None]
    ) -> Sequence[MadeSegment | None]:
        """Every piece in the store, in order; None in place of those that are not there or play nothing."""
        # Numbers that are missing in the original are missing in the clip: the finaliser sees the same gap.
        base = (job.fence - 1) % LEASES_APART * SEGMENTS_MAX - plan.pieces[0].sequence
        waiting, made = iter(enumerate(plan.pieces)), dict[int, MadeSegment | None]()

        async def make_some() -> None:
            for at, piece in waiting:
                made[at] = await self._make(job.stream_id, order.original_id, piece, base)
                report(len(made) / len(plan.pieces))

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(COPIES_AT_ONCE):
                    tasks.create_task(make_some())
        except ExceptionGroup as group:
            # The first one ended the others; the worker judges single errors.
            raise group.exceptions[0] from None
        return [made[at] for at in range(len(plan.pieces))]

    async def _make(self, clip_id: UUID, original_id: UUID, piece: Piece, base: int) -> MadeSegment | None:
        sequence = base + piece.sequence
        key = source_segment_key(clip_id, sequence)
        try:
            if not piece.is_copied:
                cut = await self._cutter.cut(original_id, piece, key)
                return None if cut is None else MadeSegment(sequence, cut.size_bytes, piece.discontinuity, cut.range)
            stored = await self._objects.copy(source_segment_key(original_id, piece.sequence), key, SEGMENT)
        except ObjectMissing as missing:
            log.warning("clip_segment_missing", sequence=piece.sequence, reason=str(missing))
            return None
        size_bytes = piece.sources[0].segment.size_bytes
        if stored.size_bytes != size_bytes:
            raise MediaRefused(f"segment {piece.sequence} has {stored.size_bytes} bytes, not {size_bytes}")
        return MadeSegment(sequence, size_bytes, piece.discontinuity, piece.planned)


def _result(made: Sequence[MadeSegment]) -> dict[str, Any]:
    return {
        "from_ms": made[0].range.from_ms,
        "to_ms": made[-1].range.to_ms,
        "sequences": [one.sequence for one in made],
        "durations_ms": [one.range.to_ms - one.range.from_ms for one in made],
        "sizes_bytes": [one.size_bytes for one in made],
        "discontinuities": [one.discontinuity for one in made],
    }


def clip_kind(parts: ArchiveParts) -> ClipKind:
    """The kind as a worker has it."""
    settings = parts.settings
    budget = EncoderBudget(
        threads=settings.archive_worker_threads,
        nice=settings.archive_worker_nice,
        seconds_max=settings.archive_worker_job_seconds_max,
        memory_bytes_max=settings.archive_worker_job_memory_bytes_max,
    )
    cutter = Cutter(parts.objects, parts.runner, budget, work_directory=parts.work_directory)
    return ClipKind(parts.pool, parts.objects, cutter)
