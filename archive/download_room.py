"""Room for a download on the worker's disk: checked before it is begun, and cleared of what killed workers left.

A download is the largest thing that a worker writes. Its directory is locked while its worker lives, so that what a
killed one has left is known at once, and does not take the room of the next try.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from archive.errors import MediaRefused

log = structlog.get_logger(__name__)

PREFIX = "download-"
LOCK = ".lock"
# Between a directory and its lock is a moment; a directory without one that is older belongs to nobody.
UNLOCKED_SECONDS = 60.0
# The index, segments on their way, and what others need.
SPARE_BYTES = 256 << 20


@contextmanager
def download_room(work_directory: Path, bytes_needed: int) -> Iterator[Path]:
    """A locked directory with room for so much; gone afterwards. Blocks. Raises MediaRefused."""
    clear_leftovers(work_directory)
    free_bytes = shutil.disk_usage(work_directory).free
    if free_bytes < bytes_needed + SPARE_BYTES:
        raise MediaRefused(
            f"making it takes {bytes_needed + SPARE_BYTES} bytes in the worker's work directory "
            f"(archive_work_directory), and {free_bytes} are free"
        )
    with tempfile.TemporaryDirectory(dir=work_directory, prefix=PREFIX, ignore_cleanup_errors=True) as directory:
        lock = os.open(Path(directory) / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(directory)
        finally:
            os.close(lock)


def clear_leftovers(work_directory: Path) -> None:
    """Remove the directories of downloads whose worker is gone."""
    for directory in work_directory.glob(f"{PREFIX}*"):
        if _is_left(directory):
            shutil.rmtree(directory, ignore_errors=True)
            log.info("left_download_cleared", directory=directory.name)


def _is_left(directory: Path) -> bool:
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            return time.time() - directory.stat().st_mtime > UNLOCKED_SECONDS
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)
