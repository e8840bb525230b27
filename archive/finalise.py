"""Makes a settled recording playable: every segment verified in the store, playlists written, then it is said.

The order is the guarantee: segments, then the source playlist, then the master, then the row and the event in one
commit. Writing the same playlist twice is harmless, and the row changes once: of two finalisers one says it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from archive import metrics
from archive.chunks import plan
from archive.errors import MediaRefused, ObjectMissing, ProcessError
from archive.ladder import SOURCE, Rendition, SourceSegment, deserved, group_chunks, mark_gaps
from archive.masters import write_master
from archive.objects import INDEX, PLAYLIST, ObjectStore, master_key, rendition_key, source_segment_key
from archive.outages import SUSPECTS, is_outage
from archive.outcome import complete, fail
from archive.playlist import PlaylistEntry, Variant, bits_per_second, vod_playlist
from archive.probe import MediaFacts, probe
from archive.process import ProcessRunner
from archive.store import QUERIES, Recordings, SettledRecording
from eventbus.outbox import Outbox, Transaction
from events import RecordingPublished
from runtime.backoff import Backoff
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.15
AT_ONCE = 3
# So long a recording waits when its finaliser is killed; a slower one is overtaken, which is harmless.
CLAIM_SECONDS = 10.0
ATTEMPTS_MAX = 5
RETRY_WAIT_SECONDS = 2.0


class Finaliser:
    """Finalises recordings, a few at a time. A service; any number of processes may run one."""

    name = "finaliser"

    def __init__(
        self,
        recordings: Recordings,
        outbox: Outbox,
        objects: ObjectStore,
        runner: ProcessRunner,
        *,
        work_directory: Path,
        playback_path: str,
        chunk_seconds: float,
    ) -> None:
        self._recordings = recordings
        self._outbox = outbox
        self._objects = objects
        self._runner = runner
        self._work_directory = work_directory
        self._playback_path = playback_path
        self._chunk_ms = round(chunk_seconds * 1000)

    async def run(self) -> None:
        """Finalise until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                recording = await self._recordings.claim_settled(claim_seconds=CLAIM_SECONDS)
                if recording is not None:
                    await self._finalise_claimed(recording)
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("finaliser_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if recording is None:
                await asyncio.sleep(POLL_SECONDS)

    async def _finalise_claimed(self, recording: SettledRecording) -> None:
        scope = structlog.contextvars.bound_contextvars(stream_id=str(recording.stream_id))
        with trace_scope(recording.traceparent), scope:
            try:
                await self._finalise(recording)
            except MediaRefused as refused:
                await self._fail(recording, str(refused))
            except SUSPECTS as error:
                if is_outage(error):
                    # Tried again as soon as the store answers; an outage is not the recording's fault.
                    await self._recordings.return_claim(
                        recording.stream_id, wait_seconds=RETRY_WAIT_SECONDS, forgive_attempt=True
                    )
                raise

    async def _finalise(self, recording: SettledRecording) -> None:
        segments = mark_gaps(await self._recordings.segments(recording.stream_id))
        if recording.segments_expected == 0:
            raise MediaRefused("no media arrived")
        if not await self._complete_in_store(recording, segments):
            return
        facts = await self._probe(recording, segments)
        source = _source_variant(facts, segments)
        await self._write_index(recording, segments)
        await self._publish(recording, segments, source, facts)

    async def _complete_in_store(self, recording: SettledRecording, segments: Sequence[SourceSegment]) -> bool:
        """Whether every segment is in the store with its size; if not, the shipper is asked to look again."""
        prefix = rendition_key(recording.stream_id, SOURCE, "")
        sizes = {stored.key: stored.size_bytes async for stored in self._objects.list(prefix)}
        absent = [
            segment.sequence
            for segment in segments
            if sizes.get(source_segment_key(recording.stream_id, segment.sequence)) != segment.size_bytes
        ]
        short = recording.segments_expected - len(segments)
        if not absent and short <= 0:
            return True
        if recording.finalise_attempts >= ATTEMPTS_MAX:
            raise MediaRefused(f"{len(absent) + max(0, short)} of its segments are not in the store")
        log.error("segments_not_in_store", absent=absent[:20], absent_segments=len(absent), rows_missing=short)
        await self._recordings.ship_again(recording.stream_id, absent, wait_seconds=RETRY_WAIT_SECONDS)
        return False

    async def _probe(self, recording: SettledRecording, segments: Sequence[SourceSegment]) -> MediaFacts:
        """What the source is: the first of a few segments that has a picture, or else one that has sound."""
        sound: MediaFacts | None = None
        reason = "it cannot be read"
        for segment in _probed(segments):
            with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="probe-") as directory:
                path = Path(directory) / "segment.ts"
                try:
                    await self._objects.get_file(source_segment_key(recording.stream_id, segment.sequence), path)
                    facts = await probe(self._runner, path)
                except (MediaRefused, ProcessError, ObjectMissing) as error:
                    reason = str(error)
                    log.warning("segment_unreadable", sequence=segment.sequence, reason=reason)
                    continue
            if facts.has_video:
                return facts
            sound = facts
        if sound is None:
            raise MediaRefused(f"its media cannot be used: {reason}")
        return sound

    async def _write_index(self, recording: SettledRecording, segments: Sequence[SourceSegment]) -> None:
        entries = [
            PlaylistEntry(f"{segment.sequence}.ts", segment.duration_ms, segment.discontinuity) for segment in segments
        ]
        index = rendition_key(recording.stream_id, SOURCE, INDEX)
        await self._objects.put_bytes(index, vod_playlist(entries).encode(), PLAYLIST)

    async def _publish(
        self,
        recording: SettledRecording,
        segments: Sequence[SourceSegment],
        source: Variant,
        facts: MediaFacts,
    ) -> None:
        duration_ms = sum(segment.duration_ms for segment in segments)
        ladder = deserved(facts.width_px, facts.height_px, facts.pixel_aspect)
        now = datetime.now(UTC)
        async with self._outbox.transaction() as transaction:
            published = await QUERIES.publish(
                transaction.connection, stream_id=recording.stream_id, published_at=now, duration_ms=duration_ms
            )
            if published is None:
                log.info("recording_published_by_another")
                return
            await transaction.say(
                RecordingPublished(
                    stream_id=recording.stream_id,
                    channel_id=recording.channel_id,
                    duration_seconds=duration_ms / 1000,
                    playback_path=f"{self._playback_path}/{master_key(recording.stream_id)}",
                    published_at=now,
                )
            )
            await _add_source(transaction, recording, source)
            await self._plan_ladder(transaction, recording, segments, ladder, facts.frame_rate)
            if not ladder:
                await complete(transaction, recording.stream_id, renditions=(SOURCE,), now=now)
            # Last of all: the lock is held while the store writes, and what failed before has left no master.
            await write_master(transaction, self._objects, recording.stream_id)
        waited_seconds = max(0.0, (now - recording.ended_at).total_seconds())
        metrics.end_to_playable_seconds.observe(waited_seconds)
        log.info("recording_published", segments=len(segments), duration_ms=duration_ms, waited_seconds=waited_seconds)

    async def _plan_ladder(
        self,
        transaction: Transaction,
        recording: SettledRecording,
        segments: Sequence[SourceSegment],
        ladder: Sequence[Rendition],
        frame_rate: float,
    ) -> None:
        chunks = group_chunks(segments, target_ms=self._chunk_ms)
        await plan(transaction.connection, recording.stream_id, ladder, frame_rate, chunks)
        await QUERIES.note_ladder_planned(transaction.connection, stream_id=recording.stream_id)

    async def _fail(self, recording: SettledRecording, reason: str) -> None:
        async with self._outbox.transaction() as transaction:
            failed = await fail(transaction, recording.stream_id, reason=reason, now=datetime.now(UTC))
        if failed:
            metrics.recordings_failed.labels("finalise").inc()


async def _add_source(transaction: Transaction, recording: SettledRecording, source: Variant) -> None:
    await QUERIES.add_rendition(
        transaction.connection,
        stream_id=recording.stream_id,
        name=SOURCE,
        rank=0,
        state="ready",
        width_px=source.width_px,
        height_px=source.height_px,
        frame_rate=source.frame_rate,
        codecs=source.codecs,
        peak=source.bits_per_second_peak,
        average=source.bits_per_second_average,
    )


def _probed(segments: Sequence[SourceSegment]) -> list[SourceSegment]:
    """Segments from all over the recording, the middle first: the first ones may hold sound alone."""
    last = len(segments) - 1
    return [segments[at] for at in dict.fromkeys((last // 2, last // 4, last * 3 // 4, 0, last))]


def _source_variant(facts: MediaFacts, segments: Sequence[SourceSegment]) -> Variant:
    peak, average = bits_per_second([(segment.size_bytes, segment.duration_ms) for segment in segments])
    return Variant(
        uri=f"{SOURCE}/{INDEX}",
        width_px=facts.width_px,
        height_px=facts.height_px,
        frame_rate=facts.frame_rate,
        codecs=facts.codecs,
        bits_per_second_peak=peak,
        bits_per_second_average=average,
    )
