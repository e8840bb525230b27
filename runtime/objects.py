"""The object store: a port with a backend for S3 and one for a disk, and what may go wrong there.

::

    ObjectStoreError
    ├── InvalidKey        a key outside the alphabet; traversal ends here
    ├── ObjectMissing
    ├── ObjectTooLarge
    └── StoreUnavailable  the store did not answer, or answered with an error

Backends: `objects_s3` and `objects_disk`; both pass tests/conformance/test_objects.py.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

KEY_CHARACTERS_MAX = 512
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)

EVERYTHING = ""


class ObjectStoreError(Exception):
    """Base of what an object store can answer besides the object."""


class InvalidKey(ObjectStoreError):
    """The key is not one that this project makes; nothing was read or written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"not an object key: {key!r}")
        self.key = key


class ObjectMissing(ObjectStoreError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key}")
        self.key = key


class ObjectTooLarge(ObjectStoreError):
    """The object is larger than the reader was willing to take."""

    def __init__(self, key: str, bytes_max: int) -> None:
        super().__init__(f"object {key} is larger than {bytes_max} bytes")
        self.key = key
        self.bytes_max = bytes_max


class StoreUnavailable(ObjectStoreError):
    """The store did not do what was asked; asking again later may work."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"object store: {action}: {reason}")
        self.action = action
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object in the store; two are equal when key and size are.

    ``version`` changes whenever the object is written again; ``md5`` is set where the store worked it out itself from
    the bytes that it received; ``modified_at`` is since when the store has it. They are None where it does not tell.
    """

    key: str
    size_bytes: int
    version: str | None = field(default=None, compare=False)
    md5: str | None = field(default=None, compare=False)
    modified_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """How an object is served: its media type, and how long others may keep it."""

    content_type: str
    cache_control: str


class ObjectStore(Protocol):
    """Objects by key. Every method may raise StoreUnavailable, and InvalidKey for a key outside the alphabet.

    A put is all or nothing: a reader sees the old object or the new one, never a part. What a put has acknowledged
    survives a crash of the store.
    """

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> StoredObject:
        """Store ``body``, replacing what was there; what the store acknowledged."""
        ...

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """Store the file at ``path``, of whatever size, replacing what was there; what the store acknowledged.

        Raises FileNotFoundError when the file is gone.
        """
        ...

    async def copy(self, source_key: str, target_key: str, kind: ObjectKind) -> StoredObject:
        """Store the same bytes under another key, within the store, replacing what was there. Raises ObjectMissing."""
        ...

    async def get_bytes(self, key: str, *, bytes_max: int) -> bytes:
        """The whole object. Raises ObjectMissing, ObjectTooLarge."""
        ...

    async def get_file(self, key: str, path: Path) -> int:
        """Write the object to ``path`` (replacing it); its size in bytes. Raises ObjectMissing."""
        ...

    async def head(self, key: str) -> StoredObject | None:
        """The object without its bytes, or None."""
        ...

    def list(self, prefix: str = EVERYTHING, *, after: str = "") -> AsyncIterator[StoredObject]:
        """Every object whose key begins with ``prefix`` (a folder, ending in ``/``, or EVERYTHING), in key order.

        Only those whose key sorts behind ``after``, which need not be a key. What has no key of our alphabet is not
        ours and is left out. An object that is put or deleted meanwhile may be in it or not; all others are.
        """
        ...

    async def sizes(self, keys: Collection[str]) -> dict[str, int]:
        """The sizes in bytes of those of ``keys`` that are there; quicker than a listing. All are in one folder.

        Raises ValueError when they are not.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        ...

    async def cool(self, key: str) -> bool:
        """Move the object to the store's colder class; False where it has none. Raises ObjectMissing.

        Key, bytes and kind stay, and it is read as before. What is there already stays as it is.
        """
        ...

    async def sweep_unfinished(self, older_than: timedelta, *, dry_run: bool) -> int:
        """Remove what writers that were killed had begun to put and never finished; how many there were.

        Only what was begun longer ago than ``older_than``. A dry run counts them.
        """
        ...

    async def check(self) -> None:
        """Ask the store for a sign of life."""
        ...


def checked_key(key: str) -> str:
    """``key`` itself. Raises InvalidKey: dot segments, absolute paths and odd characters end here, in every backend."""
    if not is_key(key):
        raise InvalidKey(key)
    return key


def is_key(text: str) -> bool:
    """Whether an object of ours may be called so."""
    return len(text) <= KEY_CHARACTERS_MAX and _KEY.fullmatch(text) is not None


def checked_prefix(prefix: str) -> str:
    """``prefix`` itself: EVERYTHING, or a folder with its closing slash. Raises InvalidKey."""
    if prefix == EVERYTHING:
        return prefix
    if not prefix.endswith("/"):
        raise InvalidKey(prefix)
    checked_key(prefix[:-1])
    return prefix


def folder_of(keys: Collection[str]) -> str:
    """The folder that all of ``keys`` are in, with its closing slash. Raises InvalidKey, ValueError."""
    folders = {checked_key(key).rpartition("/")[0] for key in keys}
    if len(folders) != 1 or "" in folders:
        raise ValueError(f"these keys are not in one folder but in {len(folders)}")
    return f"{folders.pop()}/"
