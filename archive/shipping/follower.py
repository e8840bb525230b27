"""Ships one stream's segments from first to last, a few at once, and says when that is all.

The row of a segment is written only after the store has shown its bytes; all of it may be repeated. A store that is
away is waited for, and meanwhile the directory is looked at as ever: what the playlist tells is told only once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog

from archive import metrics
from archive.errors import MediaRefused, ProcessError
from archive.media.process import ProcessRunner
from archive.objects.keys import source_segment_key
from archive.shipping.patience import Patience
from archive.shipping.rows import LostSegment, Shipments
from archive.shipping.spool import Seen, SegmentFile, Spool, measure
from archive.shipping.spool_room import REASON
from archive.shipping.turns import Turns
from archive.shipping.uploads import VerifiedUploads
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

SETTLE_POLL_SECONDS = 0.1
# The media server closes its last segment a moment after the publisher has gone.
SETTLED_AFTER_QUIET_SECONDS = 0.3
# A segment that nobody closed is left by a media server that was killed.
ABANDONED_AFTER_QUIET_SECONDS = 2.0
SETTLE_SECONDS_MAX = 10.0
LOST_PER_STATEMENT_MAX = 100


@dataclass(frozen=True)
class ShippingGear:
    """What all followers of a shipper share."""

    shipments: Shipments
    uploads: VerifiedUploads
    runner: ProcessRunner
    turns: Turns
    patience: Patience
    uploads_per_stream: int


class Follower:
    """Ships one stream's segments."""

    def __init__(self, stream_id: UUID, spool: Spool, gear: ShippingGear) -> None:
        self.stream_id = stream_id
        self.spool = spool
        self._gear = gear
        self._ended = asyncio.Event()
        self._traceparent: str | None = None
        self._begun = False
        self._shipping: set[int] = set()
        self._unsaid: list[LostSegment] = []
        self._unreadable: set[int] = set()
        self._create_task: Callable[..., object] | None = None

    def end(self, traceparent: str | None) -> None:
        """The stream is over; what is done from now on belongs to the trace of its end."""
        self._traceparent = traceparent
        self._ended.set()

    @property
    def begun(self) -> bool:
        """Whether its directory may be looked at by now."""
        return self._begun

    async def run(self) -> None:
        """Ship what is closed until the stream is over, then the rest, and say that it is all."""
        await self._gear.patience.until_done("load_shipped", self._begin)
        async with asyncio.TaskGroup() as tasks:
            self._create_task = tasks.create_task
            with trace_scope(None):
                self._begun = True
                await self._ended.wait()
            self._begun = False
            with trace_scope(self._traceparent):
                await self._settle()
        with trace_scope(self._traceparent):
            settle = partial(self._gear.shipments.settle, self.stream_id)
            segments = await self._gear.patience.until_done("settle", settle)
            log.info("recording_settled", segments=segments, lost=len(self.spool.lost))

    async def _begin(self) -> None:
        files = await asyncio.to_thread(self.spool.files)
        shipped = await self._gear.shipments.shipped(self.stream_id)
        lost = await self._gear.shipments.lost(self.stream_id)
        self.spool.begin(files, shipped=shipped, lost={segment.sequence for segment in lost})

    def take(self, seen: Seen | None) -> None:
        """Note what was seen of the directory and ship what is new."""
        if seen is not None:
            if seen.failure is not None:
                log.warning("playlist_unreadable", stream_id=str(self.stream_id), reason=seen.failure)
            for number in self.spool.take(seen):
                self.lose(number, "the file is gone", file_is_here=False)
        self._ship_next()

    def lose(self, number: int, reason: str, *, file_is_here: bool) -> None:
        """Give a segment up, and write that down as soon as Postgres takes it."""
        waiting = self.spool.waiting.get(number)
        duration_ms = None if waiting is None or waiting.told is None else waiting.told.duration_ms
        self.spool.note_lost(number, file_is_here=file_is_here)
        metrics.segments_lost.inc()
        log.error("segment_lost", stream_id=str(self.stream_id), sequence=number, reason=reason)
        self._unsaid.append(LostSegment(number, reason, duration_ms))
        if len(self._unsaid) == 1 and self._create_task is not None:
            self._create_task(self._say_lost())

    async def _say_lost(self) -> None:
        while self._unsaid:
            some = self._unsaid[:LOST_PER_STATEMENT_MAX]
            say = partial(self._gear.shipments.note_lost, self.stream_id, some)
            await self._gear.patience.until_done("note_lost", say)
            del self._unsaid[: len(some)]

    async def _settle(self) -> None:
        started = time.monotonic()
        files = await asyncio.to_thread(self.spool.files)
        self.spool.find_again(files, given_up=self._unreadable)
        while True:
            self.take(await asyncio.to_thread(self.spool.look))
            if not self.spool.waiting and await self._is_quiet(time.monotonic() - started):
                break
            await asyncio.sleep(SETTLE_POLL_SECONDS)
        for number in self.spool.holes():
            self.lose(number, "it was never written", file_is_here=False)
        # The task group waits for what is still being said.

    async def _is_quiet(self, waited_seconds: float) -> bool:
        """Whether nothing more will be written; what a killed media server left is closed first."""
        files = await asyncio.to_thread(self.spool.files)
        unclosed = self.spool.unclosed(files)
        quiet_seconds = await asyncio.to_thread(self.spool.quiet_seconds, unclosed)
        # Without any file the directory may be about to appear: silence then counts from now.
        quiet_seconds = min(quiet_seconds, waited_seconds + SETTLED_AFTER_QUIET_SECONDS)
        if unclosed and quiet_seconds >= ABANDONED_AFTER_QUIET_SECONDS:
            self._close(unclosed)
            return False
        empty = not unclosed and not self.spool.shipped_segments
        enough = ABANDONED_AFTER_QUIET_SECONDS if empty else SETTLED_AFTER_QUIET_SECONDS
        if not unclosed and quiet_seconds >= enough:
            return True
        if waited_seconds < SETTLE_SECONDS_MAX:
            return False
        log.error("stream_over_but_still_written", waited_seconds=waited_seconds)
        return True

    def _close(self, unclosed: Mapping[int, SegmentFile]) -> None:
        self.spool.close(unclosed)
        self._ship_next()

    def _ship_next(self) -> None:
        """Keep a few of the oldest segments on their way."""
        if self._create_task is None:
            return
        for number in self.spool.waiting:
            if len(self._shipping) >= self._gear.uploads_per_stream:
                return
            if number not in self._shipping:
                self._shipping.add(number)
                self._create_task(self._ship_patiently(number))

    async def _ship_patiently(self, number: int) -> None:
        try:
            await self._gear.patience.until_done("ship", lambda: self._ship(number))
        finally:
            self._shipping.discard(number)
        self._ship_next()

    async def _ship(self, number: int) -> None:
        async with self._gear.turns.turn(self.stream_id):
            waiting = self.spool.waiting.get(number)
            if waiting is None:
                return  # given up meanwhile
            try:
                segment = waiting.told or await measure(self._gear.runner, self.spool, number)
                size_bytes = await self._gear.uploads.put(
                    source_segment_key(self.stream_id, number), self.spool.path(number)
                )
            except FileNotFoundError:
                self._give_up(number, self._why_gone(number), file_is_here=False)
                return
            except (MediaRefused, ProcessError) as error:
                here = await asyncio.to_thread(self.spool.path(number).exists)
                self._give_up(number, str(error) if here else self._why_gone(number), file_is_here=here)
                return
        ended_at = datetime.fromtimestamp(waiting.file.written_at, UTC)
        await self._gear.shipments.note_shipped(self.stream_id, segment, size_bytes, ended_at)
        self.spool.note_shipped(number)
        metrics.segments_shipped.inc()
        metrics.segment_lag_seconds.observe(max(0.0, time.time() - waiting.file.written_at))
        log.debug("segment_shipped", stream_id=str(self.stream_id), sequence=number, size_bytes=size_bytes)

    def _why_gone(self, number: int) -> str:
        return REASON if number in self.spool.giving_up else "the file is gone"

    def _give_up(self, number: int, reason: str, *, file_is_here: bool) -> None:
        if number not in self.spool.waiting:
            return  # somebody else did
        if file_is_here:
            self._unreadable.add(number)
        self.lose(number, reason, file_is_here=file_is_here)
