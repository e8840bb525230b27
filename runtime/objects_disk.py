"""The object store on a disk, for machines without an S3 endpoint. A full disk is an outage, not an error."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import structlog

from runtime.objects import (
    EVERYTHING,
    ObjectKind,
    ObjectMissing,
    ObjectTooLarge,
    StoredObject,
    StoreUnavailable,
    checked_key,
    checked_prefix,
    folder_of,
)
from runtime.objects_disk_files import PUBLIC, DiskFiles, Modes, NoObject

log = structlog.get_logger(__name__)
T = TypeVar("T")

LIST_BATCH_OBJECTS = 1_000
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DiskObjects:
    """Objects as files below ``root``. What serves them decides their media type by the name's ending.

    A put that would leave less than ``reserve_bytes`` free is refused: others (Postgres, live segments) may be on the
    same disk, and must outlive a full store. ``on_free_bytes`` is told, from a thread, how much is free before a put.
    """

    def __init__(
        self,
        root: Path,
        *,
        reserve_bytes: int = 0,
        modes: Modes = PUBLIC,
        threads_max: int = 4,
        on_free_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._root = root
        self._reserve_bytes = reserve_bytes
        self._on_free_bytes = on_free_bytes
        self._files = DiskFiles(root, modes)
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="objects-disk")

    async def __aenter__(self) -> Self:
        await self._in_thread("prepare", self._files.prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> StoredObject:
        """See the port."""
        checked_key(key)

        def fill(file: BinaryIO) -> None:
            file.write(body)

        return await self._in_thread(f"put {key}", lambda: self._put(key, len(body), fill))

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """See the port."""
        checked_key(key)

        # All of it in the thread: whoever is cancelled meanwhile leaves no open file behind, and closes none under it.
        def put() -> StoredObject | FileNotFoundError:
            try:
                source = path.open("rb")
            except FileNotFoundError as gone:
                return gone
            with source:
                size_bytes = os.fstat(source.fileno()).st_size
                return self._put(key, size_bytes, lambda file: shutil.copyfileobj(source, file))

        stored = await self._in_thread(f"put {key}", put)
        if isinstance(stored, FileNotFoundError):
            raise stored
        return stored

    async def copy(self, source_key: str, target_key: str, kind: ObjectKind) -> StoredObject:
        """See the port. A second name of the same file where the file system allows it: it takes no room."""
        checked_key(source_key)
        checked_key(target_key)

        def copy() -> StoredObject:
            linked = self._files.link(source_key, target_key)
            if linked is not None:
                return linked
            with self._files.open(source_key) as source:
                size_bytes = os.fstat(source.fileno()).st_size
                return self._put(target_key, size_bytes, lambda file: shutil.copyfileobj(source, file))

        return await self._existing(source_key, copy)

    async def get_bytes(self, key: str, *, bytes_max: int) -> bytes:
        """See the port."""
        checked_key(key)

        def read() -> bytes:
            with self._files.open(key) as file:
                return file.read(bytes_max + 1)

        body = await self._existing(key, read)
        if len(body) > bytes_max:
            raise ObjectTooLarge(key, bytes_max)
        return body

    async def get_file(self, key: str, path: Path) -> int:
        """See the port."""
        checked_key(key)

        def copy() -> int:
            with self._files.open(key) as file, path.open("wb") as target:
                shutil.copyfileobj(file, target)
                return target.tell()

        return await self._existing(key, copy, written=path.parent)

    async def head(self, key: str) -> StoredObject | None:
        """See the port."""
        checked_key(key)
        try:
            return await self._existing(key, lambda: self._files.stat(key))
        except ObjectMissing:
            return None

    async def list(self, prefix: str = EVERYTHING, *, after: str = "") -> AsyncIterator[StoredObject]:
        """See the port."""
        walk = self._files.walk(checked_prefix(prefix), after)
        while batch := await self._in_thread(f"list {prefix}", lambda: list(islice(walk, LIST_BATCH_OBJECTS))):
            for stored in batch:
                yield stored

    async def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """See the port."""
        if not keys:
            return {}
        folder = folder_of(keys)
        found = await self._in_thread(f"list {folder}", lambda: self._files.sizes(folder))
        start = len(folder)
        return {key: found[key[start:]] for key in keys if key[start:] in found}

    async def delete(self, key: str) -> None:
        """See the port."""
        checked_key(key)
        try:
            await self._in_thread(f"delete {key}", lambda: self._files.remove(key))
        except NoObject:
            return

    async def cool(self, key: str) -> bool:
        """See the port; a disk has one class."""
        checked_key(key)
        await self._existing(key, lambda: self._files.stat(key))
        return False

    async def sweep_unfinished(self, older_than: timedelta, *, dry_run: bool) -> int:
        """See the port."""
        seconds = older_than.total_seconds()
        return await self._in_thread("sweep", lambda: self._files.sweep(seconds, dry_run=dry_run))

    async def check(self) -> None:
        """See the port; a disk below its reserve is no healthy store. Also sweeps what killed writers left."""

        def look() -> int:
            if not os.access(self._root, os.W_OK | os.X_OK):
                raise StoreUnavailable("check", f"{self._root} is not a directory that can be written to")
            if swept := self._files.sweep():
                log.info("unfinished_objects_swept", files=swept)
            return self._free_bytes()

        free_bytes = await self._in_thread("check", look)
        if free_bytes < self._reserve_bytes:
            raise StoreUnavailable("check", self._reason_to_refuse(free_bytes))

    def _put(self, key: str, size_bytes: int, fill: Callable[[BinaryIO], None]) -> StoredObject:
        free_bytes = self._free_bytes()
        if free_bytes - size_bytes < self._reserve_bytes:
            raise StoreUnavailable(f"put {key}", self._reason_to_refuse(free_bytes))
        return self._files.write(key, fill)

    def _free_bytes(self) -> int:
        free_bytes = self._files.free_bytes()
        self._on_free_bytes(free_bytes)
        return free_bytes

    def _reason_to_refuse(self, free_bytes: int) -> str:
        return (
            f"the disk of {self._root} is full: {free_bytes >> 20} MiB are free and {self._reserve_bytes >> 20} MiB "
            "are kept for others; free space on it, or move the recordings (livestream objects copy)"
        )

    async def _existing(self, key: str, read: Callable[[], T], *, written: Path | None = None) -> T:
        try:
            return await self._in_thread(f"get {key}", read, written=written)
        except NoObject as error:
            raise ObjectMissing(key) from error

    async def _in_thread(self, action: str, work: Callable[[], T], *, written: Path | None = None) -> T:
        """Do ``work``; ``written`` is where it writes, for the reason when that is full."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            if error.errno in _FULL:
                full = f"the disk of {written or self._root} is full ({error.strerror}): free space on it"
                raise StoreUnavailable(action, full) from error
            raise StoreUnavailable(action, str(error)) from error
