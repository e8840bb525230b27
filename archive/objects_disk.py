"""The object store on a disk, for machines without an S3 endpoint: temporary file, fsync, rename, fsync."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar
from uuid import uuid4

from archive.errors import ObjectMissing, ObjectTooLarge, StoreUnavailable
from archive.objects import ObjectKind, StoredObject, checked_key, checked_prefix

T = TypeVar("T")

# Names that keys cannot have: a key never begins with a dot.
UNFINISHED_PREFIX = ".unfinished-"
LIST_BATCH_OBJECTS = 1000


class DiskObjects:
    """Objects as files below ``root``. What serves them decides their media type by the name's ending."""

    def __init__(self, root: Path, *, threads_max: int = 4) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="objects-disk")

    async def __aenter__(self) -> DiskObjects:
        await self._in_thread("prepare", lambda: self._root.mkdir(parents=True, exist_ok=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> None:
        """See the port."""
        target = self._path(key)
        await self._in_thread(f"put {key}", lambda: _write(target, lambda file: _write_all(file, body)))

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> None:
        """See the port."""
        target = self._path(key)
        source = await asyncio.to_thread(path.open, "rb")
        with source:
            await self._in_thread(f"put {key}", lambda: _write(target, lambda file: shutil.copyfileobj(source, file)))

    async def get_bytes(self, key: str, *, bytes_max: int) -> bytes:
        """See the port."""
        path = self._path(key)

        def read() -> bytes:
            with path.open("rb") as file:
                return file.read(bytes_max + 1)

        body = await self._existing(key, read)
        if len(body) > bytes_max:
            raise ObjectTooLarge(key, bytes_max)
        return body

    async def get_file(self, key: str, path: Path) -> int:
        """See the port."""
        source = self._path(key)
        return await self._existing(key, lambda: shutil.copyfile(source, path).stat().st_size)

    async def head(self, key: str) -> StoredObject | None:
        """See the port."""
        path = self._path(key)
        try:
            size_bytes = await self._existing(key, lambda: _size(path))
        except ObjectMissing:
            return None
        return StoredObject(key, size_bytes)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See the port."""
        folder = self._root / checked_prefix(prefix)
        for stored in await self._in_thread(f"list {prefix}", lambda: _walk(folder, prefix)):
            yield stored

    async def delete(self, key: str) -> None:
        """See the port."""
        path = self._path(key)
        await self._in_thread(f"delete {key}", lambda: path.unlink(missing_ok=True))

    async def check(self) -> None:
        """See the port."""
        if not await self._in_thread("check", lambda: os.access(self._root, os.W_OK | os.X_OK)):
            raise StoreUnavailable("check", f"{self._root} is not a directory that can be written to")

    def _path(self, key: str) -> Path:
        # The alphabet of keys has no dot segments, so the path cannot leave the root.
        return self._root / checked_key(key)

    async def _existing(self, key: str, read: Callable[[], T]) -> T:
        try:
            return await self._in_thread(f"get {key}", read)
        except StoreUnavailable as unavailable:
            # A file where a folder is asked for, and the reverse, are also "no such object", as in S3.
            if isinstance(unavailable.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError):
                raise ObjectMissing(key) from unavailable.__cause__
            raise

    async def _in_thread(self, action: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise StoreUnavailable(action, str(error)) from error


def _size(path: Path) -> int:
    if path.is_dir():
        raise IsADirectoryError(path)
    return path.stat().st_size


def _write_all(file: BinaryIO, body: bytes) -> None:
    file.write(body)


def _write(target: Path, fill: Callable[[BinaryIO], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.parent / f"{UNFINISHED_PREFIX}{uuid4().hex}"
    try:
        with unfinished.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    # The rename itself is durable only with the folder.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _walk(folder: Path, prefix: str) -> list[StoredObject]:
    found = [
        StoredObject(prefix + path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(UNFINISHED_PREFIX)
    ]
    return sorted(found, key=lambda stored: stored.key)
