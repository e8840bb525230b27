"""Puts one segment into the object store and makes sure that the store has exactly its bytes."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from pathlib import Path

import structlog

from archive.errors import MediaRefused
from archive.objects.keys import SEGMENT
from runtime.objects import ObjectMissing, ObjectStore, ObjectTooLarge, StoredObject, StoreUnavailable

log = structlog.get_logger(__name__)


class VerifiedUploads:
    """Uploads that are compared with what the store says it has."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        # Some stores (with keys of a key service, say) answer with tags that look like an MD5 and are none.
        self._tags_are_digests = True

    async def put(self, key: str, path: Path) -> int:
        """Store the file and verify it; its size in bytes.

        Raises FileNotFoundError, MediaRefused (no regular file, or empty), StoreUnavailable (also when the store has
        other bytes than were sent: sending them again is the cure).
        """
        size_bytes, md5 = await asyncio.to_thread(_digest, path)
        stored: StoredObject | None = await self._objects.put_file(key, path, SEGMENT)
        if stored is not None and self._tags_are_digests and stored.md5 is not None:
            if stored.md5 == md5:
                return size_bytes
            await self._read_back(key, size_bytes, md5)
            return size_bytes
        stored = await self._objects.head(key)
        if stored is None or stored.size_bytes != size_bytes:
            raise StoreUnavailable(f"verify {key}", f"{size_bytes} bytes were sent, {stored} is there")
        return size_bytes

    async def _read_back(self, key: str, size_bytes: int, md5: str) -> None:
        """Tell damage from a store whose tags are no digests: by its bytes."""
        try:
            body = await self._objects.get_bytes(key, bytes_max=size_bytes)
        except (ObjectMissing, ObjectTooLarge) as error:
            raise StoreUnavailable(f"verify {key}", str(error)) from error
        if hashlib.md5(body, usedforsecurity=False).hexdigest() != md5:
            raise StoreUnavailable(f"verify {key}", "the store has other bytes than were sent")
        log.info("store_tags_are_no_digests", key=key)
        self._tags_are_digests = False


def _digest(path: Path) -> tuple[int, str]:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise MediaRefused("it is no regular file")
    if status.st_size == 0:
        raise MediaRefused("it is empty")
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return file.tell(), md5
