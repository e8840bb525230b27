"""Plans the ladder: which renditions a recording gets, and the jobs that make their chunks.

While a stream runs, chunks are planned as soon as no later segment can change them, so that the ladder is done soon
after the end. When the recording plays, all of it is grouped once more: chunks that were planned stay as they are, the
last ones are added, and whatever segments that came late have changed is made again. Grouping goes from the first
segment on, so both ways lead to the same chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from archive.errors import MediaRefused
from archive.ladder.chunks import Chunks, extend, plan_renditions
from archive.ladder.ladder import (
    CHUNK_SEGMENTS_MAX,
    Chunk,
    LadderStep,
    Rendition,
    SourceSegment,
    deserved,
    group_chunks,
)
from archive.ladder.ladder import mark_gaps as with_gaps
from archive.ladder.planner_store import LiveRecording, PlannerStore
from archive.ladder.progress import note_progress
from archive.media.probe import MediaFacts
from archive.outages import SUSPECTS, is_outage
from archive.parts import ArchiveParts
from archive.pictures.pictures import plan_pictures
from archive.publishing.source_probe import SourceProbe
from archive.store import Recordings
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.backoff import Backoff
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
LIVE_POLL_SECONDS = 1.0
PUBLISHED_AT_ONCE = 10
LIVE_AT_ONCE = 200
SEGMENTS_AT_ONCE = 1_000
# A segment that is missing for so long while later ones came will hardly come; if it does, the end mends it.
HOLE_SECONDS = 60.0
# The first segments may hold sound alone, until the publisher's first key frame.
LOOK_AGAIN_SECONDS = 10.0
UNWORTHY_MAX = 10_000


class LadderPlanner:
    """Makes renditions and chunk jobs. A service; any number of processes may run one."""

    name = "ladder-planner"

    def __init__(
        self,
        store: PlannerStore,
        recordings: Recordings,
        outbox: Outbox,
        source: SourceProbe,
        *,
        ladder: Sequence[LadderStep],
        with_sound: bool,
        chunk_seconds: float,
        while_live: bool,
    ) -> None:
        self._store = store
        self._recordings = recordings
        self._chunks = Chunks(store.pool)
        self._outbox = outbox
        self._source = source
        self._ladder = ladder
        self._with_sound = with_sound
        self._chunk_ms = round(chunk_seconds * 1000)
        self._while_live = while_live
        # Running streams that get no ladder (yet), each until when.
        self._unworthy_until: dict[UUID, float] = {}

    async def run(self) -> None:
        """Plan until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self.plan_published, POLL_SECONDS))
            if self._while_live:
                tasks.create_task(_repeat(self.plan_live, LIVE_POLL_SECONDS))

    async def plan_published(self) -> None:
        """Plan all of the recordings that play and have no whole plan yet."""
        for stream_id, traceparent in await self._store.unplanned(rows_max=PUBLISHED_AT_ONCE):
            with trace_scope(traceparent), structlog.contextvars.bound_contextvars(stream_id=str(stream_id)):
                await self._plan_whole(stream_id)

    async def plan_live(self) -> None:
        """Plan those chunks of running streams that cannot change any more."""
        now = asyncio.get_running_loop().time()
        self._unworthy_until = {one: until for one, until in self._unworthy_until.items() if until > now}
        skipped = list(self._unworthy_until)
        for recording in await self._store.live(target_ms=self._chunk_ms, skipped=skipped, rows_max=LIVE_AT_ONCE):
            with trace_scope(None), structlog.contextvars.bound_contextvars(stream_id=str(recording.stream_id)):
                await self._plan_closed(recording)

    async def _plan_whole(self, stream_id: UUID) -> None:
        segments = with_gaps(await self._recordings.segments(stream_id))
        chunks = group_chunks(segments, target_ms=self._chunk_ms)
        planned = await self._chunks.wanted(stream_id)
        facts = None if planned else await self._look(stream_id, segments)
        renditions = [] if facts is None else self._deserved(facts)
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            if not await self._store.lock_published(connection, stream_id):
                return
            if facts is not None:
                await plan_renditions(connection, stream_id, renditions, facts.frame_rate)
            if planned or renditions:
                await extend(connection, stream_id, chunks)
            await self._store.note_planned(connection, stream_id)
            await plan_pictures(connection, stream_id, duration_ms=sum(one.duration_ms for one in segments))
            await note_progress(transaction, stream_id)
        log.info("ladder_planned", chunks=len(chunks), renditions=[one.name for one in renditions] or None)

    async def _plan_closed(self, recording: LiveRecording) -> None:
        stream_id = recording.stream_id
        segments = await self._store.contiguous(recording, hole_seconds=HOLE_SECONDS, rows_max=SEGMENTS_AT_ONCE)
        chunks = closed_chunks(segments, recording.number + 1, recording.last_sequence, target_ms=self._chunk_ms)
        if not chunks:
            return
        facts: MediaFacts | None = None
        if not await self._chunks.wanted(stream_id):
            facts = await self._look(stream_id, segments)
            if facts is None or not self._deserved(facts):
                self._skip(stream_id, for_good=facts is not None and facts.has_video)
                return
        async with self._outbox.transaction() as transaction:
            if not await self._store.lock_live(transaction.connection, stream_id):
                return
            if facts is not None:
                await plan_renditions(transaction.connection, stream_id, self._deserved(facts), facts.frame_rate)
            await extend(transaction.connection, stream_id, chunks, whole=False)
        log.debug("chunks_planned", chunks=len(chunks))

    async def _look(self, stream_id: UUID, segments: Sequence[SourceSegment]) -> MediaFacts | None:
        try:
            return await self._source.look(stream_id, segments)
        except MediaRefused as refused:
            log.warning("source_deserves_nothing", reason=str(refused))
            return None

    def _deserved(self, facts: MediaFacts) -> list[Rendition]:
        with_sound = self._with_sound and facts.has_audio
        return deserved(facts.width_px, facts.height_px, facts.pixel_aspect, ladder=self._ladder, with_sound=with_sound)

    def _skip(self, stream_id: UUID, *, for_good: bool) -> None:
        if len(self._unworthy_until) < UNWORTHY_MAX:
            seconds = 3_600.0 if for_good else LOOK_AGAIN_SECONDS
            self._unworthy_until[stream_id] = asyncio.get_running_loop().time() + seconds


def closed_chunks(
    segments: Sequence[SourceSegment], first_number: int, last_sequence: int | None, *, target_ms: int
) -> list[Chunk]:
    """The chunks after ``last_sequence`` that stay the same whatever comes after ``segments``."""
    marked = with_gaps(segments)
    if marked and last_sequence is not None and marked[0].sequence != last_sequence + 1:
        marked[0] = replace(marked[0], discontinuity=True)
    chunks = group_chunks(marked, target_ms=target_ms)
    if chunks and not _is_full(chunks[-1], target_ms):
        chunks.pop()
    return [replace(chunk, number=first_number + chunk.number) for chunk in chunks]


def _is_full(chunk: Chunk, target_ms: int) -> bool:
    return chunk.duration_ms >= target_ms or chunk.last_sequence - chunk.first_sequence + 1 >= CHUNK_SEGMENTS_MAX


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
    while True:
        try:
            await work()
            backoff.reset()
        except SUSPECTS as error:
            if not is_outage(error):
                raise
            log.warning("ladder_planner_waits", reason=str(error) or type(error).__name__)
            await backoff.wait()
        await asyncio.sleep(seconds)


def ladder_planner(parts: ArchiveParts) -> Assembly:
    """The planner as an intake runs it."""
    settings = parts.settings
    planner = LadderPlanner(
        PlannerStore(parts.pool),
        parts.recordings,
        parts.outbox,
        SourceProbe(parts.objects, parts.runner, parts.work_directory),
        ladder=settings.ladder,
        with_sound=settings.archive_ladder_audio,
        chunk_seconds=settings.archive_chunk_seconds,
        while_live=settings.archive_transcode_while_live,
    )
    return Assembly(services=[planner])
