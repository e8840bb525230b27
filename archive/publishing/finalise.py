"""Makes a settled recording playable: every segment verified in the store, playlists written, then it is said.

The order is the guarantee: segments, then, under the lock of the recording's row, the source playlist, the master, and
the commit of the row and the event. So of two finalisers one says it, and what the playlists name is what that one has
verified. What is lost for good is left out, and the recording is published as partial.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from archive import metrics
from archive.errors import MediaRefused
from archive.ladder.ladder import SOURCE, SourceSegment, mark_gaps
from archive.media.playlist import PlaylistEntry, Variant, bits_per_second, vod_playlist
from archive.media.probe import MediaFacts
from archive.objects.keys import INDEX, PLAYLIST, master_key, rendition_key
from archive.outages import SUSPECTS, is_outage
from archive.outcome import fail
from archive.publishing.gaps import NOT_IN_STORE, Gap, LostSegment, described, find_gaps, missing_segments
from archive.publishing.in_store import absent_segments
from archive.publishing.look_ahead import LookAhead
from archive.publishing.masters import PUT_SECONDS_MAX, write_master
from archive.publishing.source_probe import SourceProbe
from archive.publishing.timeline import find_timeline
from archive.store import QUERIES, Recordings, SettledRecording
from eventbus.outbox import Outbox, Transaction
from events import RecordingPublished, TimelineAnchor
from runtime.backoff import Backoff
from runtime.objects import ObjectStore, StoreUnavailable
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.15
AT_ONCE = 3
# So long a recording waits when its finaliser is killed; a slower one is overtaken, which is harmless.
CLAIM_SECONDS = 10.0
ATTEMPTS_MAX = 5
RETRY_WAIT_SECONDS = 2.0
ABANDONED_POLL_SECONDS = 30.0
ABANDONED_SECONDS = 6 * 3_600.0


@dataclass(frozen=True, slots=True)
class _Verified:
    """A recording whose ``segments`` are all in the store; ``absent`` are given up, ``gaps`` say what is missing."""

    recording: SettledRecording
    segments: Sequence[SourceSegment]
    absent: Sequence[int]
    gaps: Sequence[Gap]
    timeline: Sequence[TimelineAnchor] = ()


class Finaliser:
    """Finalises recordings, a few at a time. A service; any number of processes may run one."""

    name = "finaliser"

    def __init__(
        self,
        recordings: Recordings,
        outbox: Outbox,
        objects: ObjectStore,
        source: SourceProbe,
        *,
        playback_path: str,
        abandoned_seconds: float = ABANDONED_SECONDS,
    ) -> None:
        self._recordings = recordings
        self._outbox = outbox
        self._objects = objects
        self._source = source
        self._ahead = LookAhead(recordings, source)
        self._playback_path = playback_path
        self._abandoned_seconds = abandoned_seconds

    async def run(self) -> None:
        """Finalise until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work())
            tasks.create_task(self._settle_abandoned())
            tasks.create_task(self._ahead.run())

    async def _settle_abandoned(self) -> None:
        """Let recordings be finalised whose shipper has died with its machine: there will be nothing more of them."""
        while True:
            try:
                abandoned = await self._recordings.settle_abandoned(after_seconds=self._abandoned_seconds)
                for stream_id in abandoned:
                    log.error("recording_settled_without_its_shipper", stream_id=str(stream_id))
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("finaliser_waits", reason=str(error) or type(error).__name__)
            await asyncio.sleep(min(ABANDONED_POLL_SECONDS, self._abandoned_seconds / 2))

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
        stream_id = recording.stream_id
        segments = await self._recordings.segments(stream_id)
        lost = await self._recordings.lost_segments(stream_id)
        # The one waits for the store, the other for a child process: together they take as long as the longer one.
        looking = asyncio.create_task(self._look(stream_id, segments))
        try:
            absent = await absent_segments(self._objects, stream_id, segments)
            if _may_be_shipped_again(recording, segments, lost, absent):
                await self._recordings.ship_again(
                    stream_id, absent, wait_seconds=RETRY_WAIT_SECONDS, reason=NOT_IN_STORE
                )
                return
            verified = await self._dated(_verified(recording, segments, lost, absent))
            published = await self._publish(verified, await looking)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if not published:
            # Somebody has shipped or forgotten segments since we looked.
            await self._recordings.return_claim(stream_id, wait_seconds=0.0, forgive_attempt=True)

    async def _dated(self, verified: _Verified) -> _Verified:
        """With the moments that the recording shows; a clip shows those of what it was cut from."""
        recording = verified.recording
        if recording.clip_of is not None:
            return verified
        ended_at = await self._recordings.segment_ends(recording.stream_id)
        return replace(verified, timeline=find_timeline(verified.segments, ended_at, recording.started_at))

    async def _look(self, stream_id: UUID, segments: Sequence[SourceSegment]) -> MediaFacts:
        return self._ahead.take(stream_id) or await self._source.look(stream_id, segments)

    async def _publish(self, verified: _Verified, facts: MediaFacts) -> bool:
        """Write the playlists and say that the recording plays; false when its segments are not what was verified."""
        recording, segments = verified.recording, verified.segments
        stream_id = recording.stream_id
        now = datetime.now(UTC)
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            if await QUERIES.lock_settled(connection, stream_id=stream_id) is None:
                log.info("recording_published_by_another")
                return True
            if await QUERIES.count_segments(connection, stream_id=stream_id) != len(segments) + len(verified.absent):
                return False
            await QUERIES.lose_segments(connection, stream_id=stream_id, sequences=verified.absent, reason=NOT_IN_STORE)
            await self._write_index(verified)
            await self._say_published(transaction, verified, now)
            await _add_source(transaction, recording, _source_variant(facts, segments))
            # Last of all: the lock is held while the store writes, and what failed before has left no master.
            await write_master(transaction, self._objects, stream_id)
        waited_seconds = max(0.0, (now - recording.ended_at).total_seconds())
        metrics.end_to_playable_seconds.observe(waited_seconds)
        missing = missing_segments(verified.gaps)
        log.info("recording_published", segments=len(segments), missing=missing, waited_seconds=waited_seconds)
        return True

    async def _write_index(self, verified: _Verified) -> None:
        entries = [
            PlaylistEntry(f"{segment.sequence}.ts", segment.duration_ms, segment.discontinuity)
            for segment in verified.segments
        ]
        index = rendition_key(verified.recording.stream_id, SOURCE, INDEX)
        try:
            async with asyncio.timeout(PUT_SECONDS_MAX):
                await self._objects.put_bytes(index, vod_playlist(entries).encode(), PLAYLIST)
        except TimeoutError as error:
            raise StoreUnavailable(f"put {index}", f"it took more than {PUT_SECONDS_MAX} s") from error

    async def _say_published(self, transaction: Transaction, verified: _Verified, now: datetime) -> None:
        recording, gaps = verified.recording, verified.gaps
        duration_ms = sum(segment.duration_ms for segment in verified.segments)
        published = await QUERIES.publish(
            transaction.connection,
            stream_id=recording.stream_id,
            published_at=now,
            duration_ms=duration_ms,
            size_bytes=sum(segment.size_bytes for segment in verified.segments),
            partial=bool(gaps),
            missing=json.dumps(described(gaps)) if gaps else None,
        )
        await transaction.say(
            RecordingPublished(
                stream_id=recording.stream_id,
                channel_id=recording.channel_id,
                duration_seconds=duration_ms / 1000,
                playback_path=f"{self._playback_path}/{master_key(recording.stream_id)}",
                published_at=now,
                partial=bool(gaps),
                missing_segments=missing_segments(gaps),
                clip_of=recording.clip_of,
                clip_from_seconds=None if published["clip_from_ms"] is None else published["clip_from_ms"] / 1000,
                visibility=published["visibility"],
                timeline=tuple(verified.timeline),
            )
        )

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


def _may_be_shipped_again(
    recording: SettledRecording,
    segments: Sequence[SourceSegment],
    lost: Sequence[LostSegment],
    absent: Sequence[int],
) -> bool:
    """Whether the shipper should look again: it has counted more than there is, or the store has lost some."""
    known = {segment.sequence for segment in segments} | {segment.sequence for segment in lost}
    rows_missing = recording.segments_expected - len(known)
    if not absent and rows_missing <= 0:
        return False
    log.error("segments_not_in_store", absent=absent[:20], absent_segments=len(absent), rows_missing=rows_missing)
    # A clip has no shipper.
    return recording.finalise_attempts < ATTEMPTS_MAX and recording.clip_of is None


def _verified(
    recording: SettledRecording,
    segments: Sequence[SourceSegment],
    lost: Sequence[LostSegment],
    absent: Sequence[int],
) -> _Verified:
    """What can be published. Raises MediaRefused when that is nothing."""
    gone = set(absent)
    kept = [segment for segment in segments if segment.sequence not in gone]
    given_up = [
        LostSegment(segment.sequence, NOT_IN_STORE, segment.duration_ms)
        for segment in segments
        if segment.sequence in gone
    ]
    # A clip is numbered from where its worker began.
    first = segments[0].sequence if segments and recording.clip_of is not None else 0
    gaps = find_gaps(kept, [*lost, *given_up], first_sequence=first)
    if not kept:
        reason = f"none of its segments is there: {gaps[0].reason}" if gaps else "no media arrived"
        raise MediaRefused(reason)
    return _Verified(recording, mark_gaps(kept), absent, gaps)


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
