"""One stream's directory on the media server's disk: which segments are closed, and which wait for the store.

nginx-rtmp names a segment in its rolling playlist once it is closed; the next number is the one that it is writing.
While it is in the window the playlist tells a segment's duration; a segment that has left it before we looked is
measured. Looking blocks and changes nothing, so it may be done in a thread; noting what was seen does not block.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from archive.errors import MediaRefused, PlaylistUnreadable, ProcessError
from archive.media.playlist import PLAYLIST_BYTES_MAX, LiveSegment, parse_live_playlist
from archive.media.probe import probe
from archive.media.process import ProcessRunner
from archive.objects.keys import INDEX

# Numbers count up from 0; two days of 2 s segments are fewer.
SEQUENCE_MAX = 200_000
# Timestamps that go on may still be a frame or two apart.
TIMESTAMP_GAP_MS = 500

_SEGMENT_FILE = re.compile(r"(0|[1-9]\d{0,5})\.ts", re.ASCII)


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment's file: its size, and when its last byte was written (seconds since the epoch)."""

    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A closed segment that is not in the store yet; ``told`` is its line in the playlist, if we saw it."""

    file: SegmentFile
    told: LiveSegment | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A playlist that has changed, and the files of the segments that are new in or before it; None: there is none."""

    version: tuple[int, int]
    window: Sequence[LiveSegment] = ()
    files: Mapping[int, SegmentFile | None] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Copies:
    """Local segments that the store has, and that nobody needs here: numbers from ``low`` up to below ``limit``."""

    directory: Path
    low: int
    limit: int


class Spool:
    """What is known of one directory. What is shipped or lost is done; memory grows with what is not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waiting: dict[int, Waiting] = {}
        self.lost: set[int] = set()
        self.giving_up: set[int] = set()  # their files are being removed: they are lost in a moment
        self.shipped_segments = 0
        self.bytes_here = 0
        self._floor = 0  # everything below is done
        self._done: set[int] = set()  # above it
        self._highest_closed = -1
        self._window_low = 0
        self._copies_low = 0
        self._version: tuple[int, int] | None = None

    @classmethod
    def of_settled(cls, directory: Path, files: Mapping[int, SegmentFile]) -> Spool:
        """A directory whose segments are all done."""
        spool = cls(directory)
        spool._floor = max(files, default=-1) + 1
        spool._copies_low = min(files, default=0)
        spool.bytes_here = sum(file.size_bytes for file in files.values())
        return spool

    def begin(self, files: Mapping[int, SegmentFile], *, shipped: Collection[int], lost: Collection[int]) -> None:
        """Go on where another process stopped. A segment that was given up and is here after all is not lost."""
        self.lost = {number for number in lost if number not in files}
        for number in [*shipped, *self.lost]:
            self._finish(number)
        self.shipped_segments = len(shipped)
        self._copies_low = min(files, default=0)
        self.bytes_here = sum(files[number].size_bytes for number in files.keys() & set(shipped))

    def path(self, sequence: int) -> Path:
        """Where a segment is."""
        return self.directory / f"{sequence}.ts"

    def files(self) -> dict[int, SegmentFile]:
        """Every segment that lies here, by number. Blocks."""
        found = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.directory) as entries:
            for entry in entries:
                name = _SEGMENT_FILE.fullmatch(entry.name)
                if name is not None and (file := _file(Path(entry.path))) is not None:
                    found[int(name[1])] = file
        return {number: file for number, file in sorted(found.items()) if number <= SEQUENCE_MAX}

    def look(self) -> Seen | None:
        """The playlist if it has changed. Blocks for a few file operations, however long the stream has run."""
        path = self.directory / INDEX
        try:
            status = path.stat()
            # The playlist is renamed into place: a changed one is another file.
            version = (status.st_ino, status.st_mtime_ns)
            if version == self._version:
                return None
            with path.open("rb") as file:
                text = file.read(PLAYLIST_BYTES_MAX + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            window = _parsed(text)
        except PlaylistUnreadable as error:
            return Seen(version, failure=str(error))
        highest = max((segment.sequence for segment in window), default=-1)
        new = range(max(self._floor, self._highest_closed + 1), highest + 1)
        return Seen(version, window, {number: _file(self.path(number)) for number in new if number not in self._done})

    def take(self, seen: Seen) -> list[int]:
        """Note what was seen; the numbers that are closed and have no file."""
        self._version = seen.version
        told = {segment.sequence: segment for segment in seen.window}
        for number in told.keys() & self.waiting.keys():
            self.waiting[number] = Waiting(self.waiting[number].file, told[number])
        gone = []
        for number, file in seen.files.items():
            if self._is_done(number) or number in self.waiting:
                continue
            if file is None:
                gone.append(number)
            else:
                self._await(number, file, told.get(number))
        if told:
            self._highest_closed = max(self._highest_closed, *told)
            self._window_low = min(told)
        return gone

    def unclosed(self, files: Mapping[int, SegmentFile]) -> dict[int, SegmentFile]:
        """Those of ``files`` that no playlist has named: being written, or left by a media server that was killed."""
        return {
            number: file
            for number, file in files.items()
            if number > self._highest_closed and not self._is_done(number)
        }

    def close(self, files: Mapping[int, SegmentFile]) -> None:
        """Take these for closed although no playlist has named them."""
        for number, file in files.items():
            if number not in self.waiting and not self._is_done(number):
                self._await(number, file, None)
        self._highest_closed = max(self._highest_closed, *files)

    def find_again(self, files: Mapping[int, SegmentFile], *, given_up: Collection[int]) -> None:
        """Let lost segments wait for the store again whose files are here, except those ``given_up`` for good."""
        for number in sorted(self.lost & files.keys() - set(given_up)):
            self.lost.discard(number)
            self._await(number, files[number], None)

    def holes(self) -> list[int]:
        """Numbers below the last closed one of which there was never anything."""
        numbers = range(self._floor, self._highest_closed + 1)
        return [number for number in numbers if number not in self._done and number not in self.waiting]

    def note_shipped(self, number: int) -> None:
        """The store has it."""
        self.waiting.pop(number, None)
        self.lost.discard(number)
        self.shipped_segments += 1
        self._finish(number)

    def note_lost(self, number: int, *, file_is_here: bool) -> None:
        """It is given up."""
        waiting = self.waiting.pop(number, None)
        if waiting is not None and not file_is_here:
            self.bytes_here -= waiting.file.size_bytes
        self.lost.add(number)
        self._finish(number)

    def copies(self, *, over: bool) -> Copies:
        """What may be removed: of a stream that is not over, nothing that its live playlist names."""
        return Copies(self.directory, self._copies_low, self._floor if over else min(self._floor, self._window_low))

    def note_removed(self, low: int, freed_bytes: int) -> None:
        """Copies below ``low`` are gone."""
        self._copies_low = max(self._copies_low, low)
        self.bytes_here = max(0, self.bytes_here - freed_bytes)

    def quiet_seconds(self, unclosed: Mapping[int, SegmentFile]) -> float:
        """How long nothing has been written here; infinite without a directory. Blocks."""
        paths = [self.directory, self.directory / INDEX, self.path(self._highest_closed)]
        changed = [file.written_at for file in unclosed.values()]
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):
                changed.append(path.stat().st_mtime)
        return time.time() - max(changed) if changed else float("inf")

    def _await(self, number: int, file: SegmentFile, told: LiveSegment | None) -> None:
        self.waiting[number] = Waiting(file, told)
        self.bytes_here += file.size_bytes

    def _is_done(self, number: int) -> bool:
        return number < self._floor or number in self._done

    def _finish(self, number: int) -> None:
        if number < self._floor:
            return
        self._done.add(number)
        while self._floor in self._done:
            self._done.remove(self._floor)
            self._floor += 1


def _parsed(text: bytes) -> list[LiveSegment]:
    if len(text) > PLAYLIST_BYTES_MAX:
        raise PlaylistUnreadable(f"it is larger than {PLAYLIST_BYTES_MAX} bytes")
    window = parse_live_playlist(text.decode("utf-8", "replace"))
    for segment in window:
        if segment.sequence > SEQUENCE_MAX:
            raise PlaylistUnreadable(f"segment {segment.sequence} is beyond {SEQUENCE_MAX}")
    return window


def _file(path: Path) -> SegmentFile | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A link, or a pipe, is no segment; whoever ships it refuses it and says so.
    size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return SegmentFile(size_bytes, status.st_mtime)


async def measure(runner: ProcessRunner, spool: Spool, sequence: int) -> LiveSegment:
    """What a segment is whose line in the playlist nobody has seen. Raises MediaRefused, ProcessError."""
    facts = await probe(runner, spool.path(sequence))
    if facts.duration_ms <= 0:
        raise MediaRefused(f"segment {sequence} has no duration")
    before = spool.path(sequence - 1)
    jump = False
    if await asyncio.to_thread(before.exists):
        try:
            previous = await probe(runner, before)
        except (MediaRefused, ProcessError):
            jump = True
        else:
            jump = abs(facts.start_ms - previous.start_ms - previous.duration_ms) > TIMESTAMP_GAP_MS
    return LiveSegment(sequence, facts.duration_ms, discontinuity=jump)


def stream_directories(root: Path, *, directories_max: int) -> tuple[dict[UUID, Path], bool]:
    """The directories below ``root`` that are named like a stream, and whether there were more than allowed."""
    with os.scandir(root) as entries:
        named = {entry.name: entry for entry in entries}
    found: dict[UUID, Path] = {}
    for name in sorted(named, reverse=True):
        stream_id = _stream_id(name)
        if stream_id is None or not named[name].is_dir():
            continue
        if len(found) >= directories_max:
            return found, True
        found[stream_id] = root / name
    return found, False


def _stream_id(name: str) -> UUID | None:
    try:
        stream_id = UUID(name)
    except ValueError:
        return None
    # One spelling only: others could not be found again by their id.
    return stream_id if str(stream_id) == name else None
