"""Ships every closed segment to the object store while its stream runs, and settles the directory when it is over.

So a recording needs no upload at the end, and a dead machine costs at most the segment that was being written. The row
of a segment is written only after the store has shown the object with the right size; all of it may be repeated. A
store that is away is waited for: the media server's disk is the spool.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from archive import metrics
from archive.errors import MediaRefused, PlaylistUnreadable, ProcessError, StoreUnavailable
from archive.objects import SEGMENT, ObjectStore, source_segment_key
from archive.outages import SUSPECTS, is_outage
from archive.playlist import LiveSegment
from archive.process import ProcessRunner
from archive.spool import Spool, measure, stream_directories
from archive.store import Recordings
from runtime.backoff import Backoff
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)
T = TypeVar("T")

# How soon a stream's end is seen; it is part of the time until the recording plays.
ENDED_POLL_SECONDS = 0.15
SETTLE_POLL_SECONDS = 0.1
# The media server closes its last segment a moment after the publisher has gone.
SETTLED_AFTER_QUIET_SECONDS = 0.3
# A segment that nobody closed is left by a media server that was killed.
ABANDONED_AFTER_QUIET_SECONDS = 2.0
SETTLE_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class ShipperPace:
    """How eager the shipper is, and how much it takes on."""

    poll_seconds: float = 0.5
    uploads_at_once: int = 12
    directories_max: int = 2_000
    keep_seconds: float = 3_600.0
    sweep_seconds: float = 30.0


class Shipper:
    """Follows the directories below one HLS root. A service."""

    name = "shipper"

    def __init__(
        self, root: Path, recordings: Recordings, objects: ObjectStore, runner: ProcessRunner, pace: ShipperPace
    ) -> None:
        self._root = root
        self._recordings = recordings
        self._objects = objects
        self._runner = runner
        self._pace = pace
        self._uploads = asyncio.Semaphore(pace.uploads_at_once)
        self._followers: dict[UUID, Follower] = {}
        self._present: dict[UUID, Path] = {}
        self._over: set[UUID] = set()
        self._discover_at = 0.0
        self._sweep_at = 0.0

    async def run(self) -> None:
        """Ship until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await _patiently("look_around", lambda: self._look_around(tasks))
                await asyncio.sleep(ENDED_POLL_SECONDS)

    def check(self) -> None:
        """Raise with the reason while there is nothing to ship from."""
        if not self._root.is_dir():
            raise NotADirectoryError(f"the HLS directory {self._root} is not there")

    async def _look_around(self, tasks: asyncio.TaskGroup) -> None:
        for stream_id, traceparent in (await self._recordings.unsettled()).items():
            self._follow(stream_id, tasks).end(traceparent)
        if time.monotonic() >= self._discover_at:
            self._discover_at = time.monotonic() + self._pace.poll_seconds
            await self._discover(tasks)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + self._pace.sweep_seconds
            await self._sweep()

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        try:
            self._present, cut = await asyncio.to_thread(
                stream_directories, self._root, directories_max=self._pace.directories_max
            )
        except FileNotFoundError:
            # The media server has not started yet; readiness says so.
            return
        if cut:
            log.error("too_many_directories", directories_max=self._pace.directories_max)
        self._over &= self._present.keys()
        unknown = [one for one in self._present if one not in self._followers and one not in self._over]
        if unknown:
            self._over |= await self._recordings.settled_among(unknown)
        for stream_id in unknown:
            if stream_id not in self._over:
                self._follow(stream_id, tasks)

    def _follow(self, stream_id: UUID, tasks: asyncio.TaskGroup) -> Follower:
        follower = self._followers.get(stream_id)
        if follower is None:
            spool = Spool(self._root / str(stream_id))
            follower = Follower(stream_id, spool, self._recordings, self._objects, self._runner, self._uploads)
            self._followers[stream_id] = follower
            tasks.create_task(self._run_follower(follower), name=f"follow-{stream_id}")
            metrics.directories_followed.set(len(self._followers))
        return follower

    async def _run_follower(self, follower: Follower) -> None:
        with structlog.contextvars.bound_contextvars(stream_id=str(follower.stream_id)):
            await follower.run(self._pace.poll_seconds)
        del self._followers[follower.stream_id]
        self._over.add(follower.stream_id)
        metrics.directories_followed.set(len(self._followers))

    async def _sweep(self) -> None:
        """Remove local copies: only of recordings that have played from the store for the keep time."""
        over = [stream_id for stream_id in self._over if stream_id in self._present]
        for stream_id in await self._recordings.played_for(self._pace.keep_seconds, over):
            await asyncio.to_thread(shutil.rmtree, self._present[stream_id], ignore_errors=True)
            log.info("local_segments_removed", stream_id=str(stream_id))


class Follower:
    """Ships one stream's segments from first to last."""

    def __init__(
        self,
        stream_id: UUID,
        spool: Spool,
        recordings: Recordings,
        objects: ObjectStore,
        runner: ProcessRunner,
        uploads: asyncio.Semaphore,
    ) -> None:
        self.stream_id = stream_id
        self._ended = asyncio.Event()
        self._traceparent: str | None = None
        self._spool = spool
        self._recordings = recordings
        self._objects = objects
        self._runner = runner
        self._uploads = uploads

    def end(self, traceparent: str | None) -> None:
        """The stream is over; what is done from now on belongs to the trace of its end."""
        self._traceparent = traceparent
        self._ended.set()

    async def run(self, poll_seconds: float) -> None:
        """Ship what is closed until the stream is over, then the rest, and say that it is all."""
        self._spool.shipped = await _patiently("load_shipped", lambda: self._recordings.shipped(self.stream_id))
        with trace_scope(None):
            while not self._ended.is_set():
                await _patiently("ship", self._ship_closed)
                await _wait(self._ended, poll_seconds)
        with trace_scope(self._traceparent):
            await self._settle()
            segments = await _patiently("settle", lambda: self._recordings.settle(self.stream_id))
            log.info("recording_settled", segments=segments, lost=len(self._spool.lost))

    async def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        started = time.monotonic()
        while time.monotonic() < deadline:
            await _patiently("ship", self._ship_closed)
            quiet_seconds = await asyncio.to_thread(self._spool.quiet_seconds)
            unclosed = await asyncio.to_thread(self._spool.unclosed)
            # Without any file the directory may be about to appear: silence then counts from now.
            quiet_seconds = min(quiet_seconds, time.monotonic() - started + SETTLED_AFTER_QUIET_SECONDS)
            if unclosed and quiet_seconds >= ABANDONED_AFTER_QUIET_SECONDS:
                await _patiently("ship", partial(self._ship_abandoned, unclosed))
                return
            empty = not unclosed and not self._spool.shipped
            enough = ABANDONED_AFTER_QUIET_SECONDS if empty else SETTLED_AFTER_QUIET_SECONDS
            if not unclosed and quiet_seconds >= enough:
                return
            await asyncio.sleep(SETTLE_POLL_SECONDS)
        log.error("stream_over_but_still_written", waited_seconds=SETTLE_SECONDS_MAX)

    async def _ship_closed(self) -> None:
        try:
            numbers = await asyncio.to_thread(self._spool.look)
        except PlaylistUnreadable as error:
            log.warning("playlist_unreadable", reason=str(error))
            return
        for number in numbers:
            await self._ship(number, self._spool.told(number))

    async def _ship_abandoned(self, numbers: list[int]) -> None:
        for number in numbers:
            if number not in self._spool.shipped and number not in self._spool.lost:
                await self._ship(number, None)

    async def _ship(self, number: int, told: LiveSegment | None) -> None:
        path = self._spool.path(number)
        try:
            status = await asyncio.to_thread(path.stat)
        except FileNotFoundError:
            self._lose(number, "the file is gone")
            return
        try:
            segment = told or await measure(self._runner, self._spool, number)
        except (MediaRefused, ProcessError) as error:
            self._lose(number, str(error))
            return
        async with self._uploads:
            size_bytes = await self._upload(number, path)
        await self._recordings.note_shipped(self.stream_id, segment, size_bytes)
        self._spool.shipped.add(number)
        metrics.segments_shipped.inc()
        metrics.segment_lag_seconds.observe(max(0.0, time.time() - status.st_mtime))
        log.debug("segment_shipped", sequence=number, size_bytes=size_bytes)

    async def _upload(self, number: int, path: Path) -> int:
        key = source_segment_key(self.stream_id, number)
        await self._objects.put_file(key, path, SEGMENT)
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        stored = await self._objects.head(key)
        if stored is None or stored.size_bytes != size_bytes:
            raise StoreUnavailable(f"verify {key}", f"{size_bytes} bytes were sent, {stored} is there")
        return size_bytes

    def _lose(self, number: int, reason: str) -> None:
        self._spool.lost.add(number)
        metrics.segments_lost.inc()
        log.error("segment_lost", sequence=number, reason=reason)


async def _patiently(step: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do ``work``, again and again while Postgres or the store is away; any other error is the caller's."""
    backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
    while True:
        try:
            return await work()
        except SUSPECTS as error:
            if not is_outage(error):
                raise
            log.warning("shipper_waits", step=step, reason=str(error) or type(error).__name__)
        await backoff.wait()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
