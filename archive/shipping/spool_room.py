"""Keeps room on the media server's disk: the spool is bounded, and the disk is never filled to the last byte.

Copies of what the store has go first: when they are older than the keep time, or earlier when room is short. Segments
that the store does not have are given up last, oldest first and written down as lost: so a stream goes on, and its
recording becomes partial, instead of everything on the machine breaking.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from archive import metrics
from archive.shipping.spool import Copies, Spool

log = structlog.get_logger(__name__)

# Of what the spool may take; above the first, room is short: copies go until it is below the second.
SHORT = 0.8
COPIES_LEAVE = 0.7
# Below this the alarm is over; between, it stays as it is.
ENOUGH = 0.75
# Segments that nobody has elsewhere go at the bound, down to this share of it.
UNSHIPPED_LEAVE = 0.9
REASON = "the disk for segments was full before the store took it"


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much may lie here. ``spare_seconds``: younger segments are not given up, they may be on their way."""

    bytes_max: int = 20 << 30
    reserve_bytes: int = 0
    keep_seconds: float = 3_600.0
    spare_seconds: float = 30.0


class Stream(Protocol):
    """A stream that is followed."""

    spool: Spool

    def lose(self, number: int, reason: str, *, file_is_here: bool) -> None:
        """Give a segment up."""
        ...


class SpoolRoom:
    """Watches what all directories below one root take together."""

    def __init__(self, root: Path, limits: SpoolLimits) -> None:
        self._root = root
        self._limits = limits
        self._short: str | None = None

    def check(self) -> None:
        """Raise with the reason while the spool is filling up."""
        if self._short is not None:
            raise OSError(self._short)

    async def tidy(self, streams: Sequence[Stream], settled: Sequence[Spool]) -> None:
        """One round over everything; keeps within the limits what can be kept."""
        spools = [stream.spool for stream in streams] + list(settled)
        old = time.time() - self._limits.keep_seconds
        await self._remove([stream.spool for stream in streams], [], written_before=old, bytes_max=None)
        used, room = await self._measured(spools)
        if used >= (SHORT if self._short is None else COPIES_LEAVE) * room:
            followed = [stream.spool for stream in streams]
            await self._remove(followed, settled, written_before=None, bytes_max=used - COPIES_LEAVE * room)
            # Others may have removed files: before anything is given up it is counted.
            await asyncio.to_thread(_count, spools)
            used, room = await self._measured(spools)
        if used >= room:
            await self._give_up(streams, used - UNSHIPPED_LEAVE * room)
        self._tell(used, room)
        _observe(streams, used)

    async def _measured(self, spools: Sequence[Spool]) -> tuple[int, int]:
        """What the spool takes, and what it may take; in bytes."""
        used = sum(spool.bytes_here for spool in spools)
        try:
            status = await asyncio.to_thread(os.statvfs, self._root)
        except FileNotFoundError:
            return used, self._limits.bytes_max
        free = status.f_bavail * status.f_frsize
        return used, min(self._limits.bytes_max, used + free - self._limits.reserve_bytes)

    async def _remove(
        self,
        followed: Sequence[Spool],
        settled: Sequence[Spool],
        *,
        written_before: float | None,
        bytes_max: float | None,
    ) -> None:
        spools = [*followed, *settled]
        copies = [spool.copies(over=False) for spool in followed] + [spool.copies(over=True) for spool in settled]
        removed = await asyncio.to_thread(remove_copies, copies, written_before=written_before, bytes_max=bytes_max)
        for spool, (low, freed_bytes) in zip(spools, removed, strict=True):
            spool.note_removed(low, freed_bytes)
        if bytes_max is not None and (freed := sum(freed_bytes for _, freed_bytes in removed)):
            log.info("local_copies_removed_for_room", freed_bytes=freed)

    async def _give_up(self, streams: Sequence[Stream], bytes_wanted: float) -> None:
        young = time.time() - self._limits.spare_seconds
        oldest = heapq.merge(
            *(
                [(waiting.file.written_at, place, number) for number, waiting in stream.spool.waiting.items()]
                for place, stream in enumerate(streams)
            )
        )
        chosen: list[tuple[Stream, int]] = []
        for written_at, place, number in oldest:
            if bytes_wanted <= 0 or written_at > young:
                break
            chosen.append((streams[place], number))
            bytes_wanted -= streams[place].spool.waiting[number].file.size_bytes
        for stream, number in chosen:
            # Whoever ships it may miss the file before we are back: it is not gone for any other reason.
            stream.spool.giving_up.add(number)
        removed = await asyncio.to_thread(lambda: [_unlink(stream.spool.path(number)) for stream, number in chosen])
        for (stream, number), gone in zip(chosen, removed, strict=True):
            stream.spool.giving_up.discard(number)
            # It may have been shipped in this moment: then nothing is lost but a copy.
            if gone and number in stream.spool.waiting:
                stream.lose(number, REASON, file_is_here=False)

    def _tell(self, used: int, room: int) -> None:
        if used >= SHORT * room:
            reason = (
                f"segments that the store has not taken fill their disk: {used >> 20} MiB of {max(0, room) >> 20} MiB "
                f"below {self._root}; at the bound the oldest are given up"
            )
            if self._short is None:
                log.error("spool_fills_up", bytes_used=used, bytes_room=room)
            self._short = reason
        elif self._short is not None and used < ENOUGH * room:
            log.info("spool_has_room_again", bytes_used=used, bytes_room=room)
            self._short = None
        metrics.spool_filled_ratio.set(min(1.0, used / room) if room > 0 else 1.0)


def remove_copies(
    copies: Sequence[Copies], *, written_before: float | None, bytes_max: float | None
) -> list[tuple[int, int]]:
    """Remove copies, oldest of all first: those written before a moment, or so many bytes. Blocks.

    The answer is, for each, the lowest number that may still be there, and the bytes that were freed.
    """
    lows = [one.low for one in copies]
    freed = [0] * len(copies)
    heads = [head for place, one in enumerate(copies) if (head := _oldest(one, one.low, place)) is not None]
    heapq.heapify(heads)
    left = float("inf") if bytes_max is None else bytes_max
    while heads and left > 0:
        written_at, place, number, size_bytes = heads[0]
        lows[place] = number
        if written_before is not None and written_at >= written_before:
            heapq.heappop(heads)
            continue
        if not _unlink(copies[place].directory / f"{number}.ts"):
            heapq.heappop(heads)
            continue
        freed[place] += size_bytes
        left -= size_bytes
        lows[place] = number + 1
        head = _oldest(copies[place], number + 1, place)
        if head is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, head)
    return list(zip(lows, freed, strict=True))


def _oldest(copies: Copies, low: int, place: int) -> tuple[float, int, int, int] | None:
    for number in range(low, copies.limit):
        try:
            status = (copies.directory / f"{number}.ts").lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return status.st_mtime, place, number, status.st_size
    return None


def _unlink(path: Path) -> bool:
    """Whether it is gone now."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("local_segment_not_removed", path=str(path), reason=str(error))
        return False
    return True


def _count(spools: Sequence[Spool]) -> None:
    for spool in spools:
        spool.bytes_here = sum(file.size_bytes for file in spool.files().values())


def _observe(streams: Sequence[Stream], used: int) -> None:
    waiting = [waiting for stream in streams for waiting in stream.spool.waiting.values()]
    oldest = min((one.file.written_at for one in waiting), default=None)
    metrics.spool_bytes.set(used)
    metrics.segments_unshipped.set(len(waiting))
    metrics.segment_unshipped_oldest_seconds.set(0.0 if oldest is None else max(0.0, time.time() - oldest))
