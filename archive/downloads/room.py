"""Room for a download on the worker's disk: checked before it is begun, and cleared of what killed workers left.

A download is the largest thing that a worker writes. Its directory is locked while its worker lives, so that what a
killed one has left is known at once, and does not take the room of the next try.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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


@asynccontextmanager
async def download_room(work_directory: Path, bytes_needed: int) -> AsyncIterator[Path]:
    """A locked directory with room for so much; gone afterwards. Raises MediaRefused."""
    # What is large is removed in a thread. The rest is quick, and must not be done when nobody waits for it any more.
    await asyncio.to_thread(clear_leftovers, work_directory)
    free_bytes = shutil.disk_usage(work_directory).free
    if free_bytes < bytes_needed + SPARE_BYTES:
        raise MediaRefused(
            f"making it takes {bytes_needed + SPARE_BYTES} bytes in the worker's work directory "
            f"(archive_work_directory), and {free_bytes} are free"
        )
    directory = Path(tempfile.mkdtemp(dir=work_directory, prefix=PREFIX))
    unlocked = directory / f"{LOCK}.new"
    lock = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # It has its name once it is locked, or whoever clears up in between would take it for a dead worker's.
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(directory / LOCK)
        yield directory
    finally:
        # Whoever finds it unlocked and still there may remove it as well.
        os.close(lock)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


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
