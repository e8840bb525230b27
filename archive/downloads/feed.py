"""Feeds a download's segments to ffmpeg through named pipes, so that none but the next ones are on the disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from archive.downloads.plan import Run, concat_list, run_name
from runtime.backoff import Backoff
from runtime.objects import ObjectStore, StoreUnavailable

log = structlog.get_logger(__name__)

PIPE_BYTES = 1 << 20
PIPE_POLL_SECONDS = 0.01
# So long a store may be away before all that was done is given up and done again later.
STORE_AWAY_SECONDS_MAX = 180.0


class Feed:
    """The segments of some runs, in order, behind a list for ffmpeg's concat demuxer."""

    def __init__(self, objects: ObjectStore, runs: Sequence[Run], directory: Path) -> None:
        self._objects = objects
        self._runs = runs
        self._directory = directory
        self.list_path = directory / "runs.ffconcat"

    def prepare(self) -> None:
        """Make the list and the pipes; blocks."""
        self.list_path.write_text(concat_list(self._runs), encoding="ascii")
        for number in range(len(self._runs)):
            os.mkfifo(self._directory / run_name(number))

    async def run(self, on_fed: Callable[[], None]) -> None:
        """Hand all of it over, or until nobody reads any more. Raises ObjectMissing, StoreUnavailable."""
        for number, run in enumerate(self._runs):
            pipe = await _opened(self._directory / run_name(number))
            try:
                await self._pour(run, pipe, on_fed)
            except BrokenPipeError:
                # Whoever ran ffmpeg knows why it ended.
                return
            finally:
                os.close(pipe)

    async def _pour(self, run: Run, pipe: int, on_fed: Callable[[], None]) -> None:
        fetching = asyncio.create_task(self._fetch(run.keys[0]))
        try:
            for following in (*run.keys[1:], None):
                piece = await fetching
                if following is not None:
                    fetching = asyncio.create_task(self._fetch(following))
                await _written(piece, pipe)
                on_fed()
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _fetch(self, key: str) -> Path:
        path = self._directory / f"{key.rpartition('/')[2]}.piece"
        await while_store_away(lambda: self._objects.get_file(key, path))
        return path


async def while_store_away(work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work``, again and again while the store is away, for a few minutes at most. Raises StoreUnavailable then."""
    deadline = time.monotonic() + STORE_AWAY_SECONDS_MAX
    backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            log.warning("download_waits", reason=error.reason)
        else:
            return
        await backoff.wait()


async def _opened(path: Path) -> int:
    """The writing end, as soon as somebody has opened the other one; whoever waits no longer cancels us."""
    while True:
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            await asyncio.sleep(PIPE_POLL_SECONDS)
        else:
            break
    os.set_blocking(pipe, True)
    with suppress(OSError):
        # Fewer wake-ups; the kernel may have given all that it gives to one user.
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return pipe


async def _written(piece: Path, pipe: int) -> None:
    writing = asyncio.create_task(asyncio.to_thread(_write, piece, pipe))
    try:
        await asyncio.shield(writing)
    finally:
        # Who is cancelled must not close the pipe under the thread. It ends at once: ffmpeg is being killed as well.
        await asyncio.wait({writing})


def _write(piece: Path, pipe: int) -> None:
    with os.fdopen(pipe, "wb", closefd=False) as target, piece.open("rb") as source:
        shutil.copyfileobj(source, target, PIPE_BYTES)
    piece.unlink()
