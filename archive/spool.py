"""One stream's directory on the media server's disk: which segments are closed, and what is known of them.

nginx-rtmp names a segment in its rolling playlist once it is closed; the next number is the one that it is writing.
While it is in the window the playlist tells a segment's duration; a segment that has left it before we looked is
measured.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from archive.errors import MediaRefused, PlaylistUnreadable, ProcessError
from archive.objects import INDEX
from archive.playlist import PLAYLIST_BYTES_MAX, LiveSegment, parse_live_playlist
from archive.probe import probe
from archive.process import ProcessRunner

# Numbers count up from 0; two days of 2 s segments are fewer.
SEQUENCE_MAX = 200_000
# Timestamps that go on may still be a frame or two apart.
TIMESTAMP_GAP_MS = 500


@dataclass(slots=True)
class Spool:
    """What has been seen of one directory so far. ``shipped`` and ``lost`` need no more attention."""

    directory: Path
    shipped: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    _window: dict[int, LiveSegment] = field(default_factory=dict)
    _highest_closed: int = -1
    _lowest_open: int = 0
    _playlist_version: tuple[int, int] | None = None

    def path(self, sequence: int) -> Path:
        """Where a segment is."""
        return self.directory / f"{sequence}.ts"

    def look(self) -> list[int]:
        """Read the playlist if it has changed; the numbers of closed segments that are not shipped, oldest first.

        Raises PlaylistUnreadable. Blocks for a few file operations, however long the stream has been running.
        """
        try:
            self._read_playlist()
        except FileNotFoundError:
            return []
        while self._lowest_open in self.shipped or self._lowest_open in self.lost:
            self._window.pop(self._lowest_open, None)
            self._lowest_open += 1
        candidates = range(self._lowest_open, self._highest_closed + 1)
        return [number for number in candidates if number not in self.shipped and number not in self.lost]

    def told(self, sequence: int) -> LiveSegment | None:
        """What the playlist said of a segment while it was in the window."""
        return self._window.get(sequence)

    def unclosed(self) -> list[int]:
        """Segments on the disk that the playlist has never named: being written, or left by a killed media server."""
        numbers = (
            int(path.stem) for path in self.directory.glob("*.ts") if path.stem.isascii() and path.stem.isdigit()
        )
        return sorted(number for number in numbers if self._highest_closed < number <= SEQUENCE_MAX)

    def quiet_seconds(self) -> float:
        """How long nothing has been written here; infinite without a directory."""
        try:
            changed = [entry.stat().st_mtime for entry in self._recent()]
        except FileNotFoundError:
            return float("inf")
        return time.time() - max(changed) if changed else float("inf")

    def _recent(self) -> list[Path]:
        files = [self.directory / INDEX, self.path(self._highest_closed), *map(self.path, self.unclosed())]
        return [self.directory, *(file for file in files if file.exists())]

    def _read_playlist(self) -> None:
        path = self.directory / INDEX
        status = path.stat()
        # The playlist is renamed into place: a changed one is another file.
        version = (status.st_ino, status.st_mtime_ns)
        if version == self._playlist_version:
            return
        with path.open("rb") as file:
            text = file.read(PLAYLIST_BYTES_MAX + 1)
        if len(text) > PLAYLIST_BYTES_MAX:
            raise PlaylistUnreadable(f"it is larger than {PLAYLIST_BYTES_MAX} bytes")
        for segment in parse_live_playlist(text.decode("utf-8", "replace")):
            if segment.sequence > SEQUENCE_MAX:
                raise PlaylistUnreadable(f"segment {segment.sequence} is beyond {SEQUENCE_MAX}")
            self._highest_closed = max(self._highest_closed, segment.sequence)
            if segment.sequence not in self.shipped:
                self._window[segment.sequence] = segment
        self._playlist_version = version


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
    found: dict[UUID, Path] = {}
    for entry in sorted(root.iterdir(), key=lambda path: path.name, reverse=True):
        stream_id = _stream_id(entry.name)
        if stream_id is None or not entry.is_dir():
            continue
        if len(found) >= directories_max:
            return found, True
        found[stream_id] = entry
    return found, False


def _stream_id(name: str) -> UUID | None:
    try:
        stream_id = UUID(name)
    except ValueError:
        return None
    # One spelling only: others could not be found again by their id.
    return stream_id if str(stream_id) == name else None
