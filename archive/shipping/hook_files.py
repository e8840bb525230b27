"""Makes of hooked segments what nginx-rtmp would have written: numbered files and a rolling playlist, for the shipper.

A segment is linked, not moved: the media server goes on to serve and to delete its own. All that must be remembered is
in the directory, so a shipper that is killed goes on where it was: the last segment's time says what is new.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal
from uuid import UUID

from archive.errors import PlaylistUnreadable
from archive.media.playlist import PLAYLIST_BYTES_MAX, LiveSegment, parse_live_playlist
from archive.objects.keys import INDEX
from archive.problems import ForbiddenSegmentFile
from archive.shipping.spool import SEQUENCE_MAX

WINDOW_SEGMENTS = 15
# A segment is written as long as it plays; beyond this something was in between: a reconnect, a restart, a lost hook.
GAP_SECONDS = 1.0

Outcome = Literal["taken", "known"]


class HookedDirectories:
    """The directories below the HLS root that are fed by hooks. Every method blocks."""

    def __init__(self, root: Path, hls_root: Path, *, bytes_max: int) -> None:
        self._root = root
        self._hls_root = hls_root
        self._bytes_max = bytes_max

    def take(self, stream_id: UUID, path: PurePosixPath, duration_ms: int) -> Outcome:
        """Add the segment to the stream, unless that was done before, or a later one has come already.

        Raises ForbiddenSegmentFile: no regular file below the root, or too large, or empty; and OSError.
        """
        directory = self._hls_root / str(stream_id)
        with self._opened(path) as (descriptor, status):
            directory.mkdir(parents=True, exist_ok=True)
            window = _read_window(directory)
            last_written_at = _written_at(directory, window)
            if last_written_at is not None and status.st_mtime_ns <= last_written_at:
                return "known"
            number = _add_file(directory, descriptor, status, first=window[-1].sequence + 1 if window else 0)
        gap_seconds = 0.0 if last_written_at is None else (status.st_mtime_ns - last_written_at) / 1e9
        begins_anew = last_written_at is None or gap_seconds - duration_ms / 1000 > GAP_SECONDS
        window = [*window, LiveSegment(number, duration_ms, discontinuity=begins_anew)][-WINDOW_SEGMENTS:]
        _write_window(directory, window)
        return "taken"

    @contextmanager
    def _opened(self, path: PurePosixPath) -> Iterator[tuple[int, os.stat_result]]:
        try:
            # Not blocking: whoever opens a pipe without a writer would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise ForbiddenSegmentFile("the segment's file cannot be opened") from error
        try:
            # Where it is that was opened, whatever links led there, or are put there meanwhile.
            opened = Path(f"/proc/self/fd/{descriptor}").readlink()
            if not opened.is_relative_to(self._root.resolve()) or opened.suffix != ".ts":
                raise ForbiddenSegmentFile("the segment's file is not below the directory that is set")
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= self._bytes_max:
                raise ForbiddenSegmentFile(f"the segment is no file of 1 to {self._bytes_max} bytes")
            yield descriptor, status
        finally:
            os.close(descriptor)


def _add_file(directory: Path, descriptor: int, status: os.stat_result, *, first: int) -> int:
    """Give the file the next free number. Who has that was left by a process that was killed: the shipper finds it."""
    for number in range(first, SEQUENCE_MAX + 1):
        target = directory / f"{number}.ts"
        try:
            there = target.lstat()
        except FileNotFoundError:
            _link(descriptor, status, target)
            return number
        if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return number
    raise ForbiddenSegmentFile(f"the stream has more than {SEQUENCE_MAX} segments")


def _link(descriptor: int, status: os.stat_result, target: Path) -> None:
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a folder given does Python follow the link, which is what leads to the file that was opened.
        os.link(f"/proc/self/fd/{descriptor}", target.name, dst_dir_fd=folder, follow_symlinks=True)
    except OSError as error:
        # Another file system, or one that belongs to somebody else (fs.protected_hardlinks).
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
            raise
        _copy(descriptor, status, target)
    finally:
        os.close(folder)


def _copy(descriptor: int, status: os.stat_result, target: Path) -> None:
    unfinished = target.with_suffix(".ts.unfinished")
    try:
        with os.fdopen(os.dup(descriptor), "rb") as source, unfinished.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        # The time says whether a segment is new.
        os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _read_window(directory: Path) -> list[LiveSegment]:
    with suppress(FileNotFoundError, PlaylistUnreadable), (directory / INDEX).open("rb") as file:
        return parse_live_playlist(file.read(PLAYLIST_BYTES_MAX).decode("utf-8", "replace"))
    return []


def _written_at(directory: Path, window: Sequence[LiveSegment]) -> int | None:
    """When the last segment was written, in ns; None when there is none, or when it is gone."""
    if not window:
        return None
    with suppress(FileNotFoundError):
        return (directory / f"{window[-1].sequence}.ts").lstat().st_mtime_ns
    return None


def _write_window(directory: Path, window: Sequence[LiveSegment]) -> None:
    target_seconds = max(int(segment.duration_ms / 1000 + 0.5) for segment in window)
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-MEDIA-SEQUENCE:{window[0].sequence}"]
    lines.append(f"#EXT-X-TARGETDURATION:{max(1, target_seconds)}")
    for segment in window:
        lines += ["#EXT-X-DISCONTINUITY"] * segment.discontinuity
        lines += [f"#EXTINF:{segment.duration_ms / 1000:.3f},", f"{segment.sequence}.ts"]
    unfinished = directory / f"{INDEX}.unfinished"
    unfinished.write_text("\n".join(lines) + "\n")
    unfinished.replace(directory / INDEX)
