"""Copies every object of one store to another and proves each: what is there already and the same is left alone.

Nothing is remembered between runs, so a copy that was killed at any point is resumed by copying again. An object counts
as there when its size and its bytes are those of the source. The bytes are proven by SHA-256 of what the target gives
back, or, unless ``read_back`` is asked for, by the MD5 that the target itself worked out from what it received: then it
is proven that the store received them, and its word that it has kept them is taken.

Media come first, then the playlists that name them, then the master playlists, so that at no moment a playlist in the
target names an object that is not there. When one object of a recording fails, its playlists are not copied.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args
from uuid import uuid4

from archive.errors import ObjectDamaged
from archive.objects.keys import INDEX, MASTER, kind_of
from runtime.backoff import Backoff
from runtime.objects import EVERYTHING, ObjectKind, ObjectMissing, ObjectStoreError, StoredObject, StoreUnavailable

ATTEMPTS_MAX = 4
RETRY_FIRST_SECONDS = 0.2
RETRY_CEILING_SECONDS = 5.0
FAILURES_KEPT_MAX = 1_000
PIECE_BYTES = 1 << 20

T = TypeVar("T")

Outcome = Literal["copied", "there", "gone", "failed", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
OnObject = Callable[[StoredObject, Outcome], None]


@dataclass(frozen=True, slots=True)
class Digest:
    """What the bytes of an object are; digests in hex."""

    size_bytes: int
    sha256: str
    md5: str


@dataclass(slots=True)
class CopyReport:
    """What came of it: objects by outcome, and the first reasons by key.

    ``there``: was the same already; ``gone``: deleted from the source since it was listed; ``skipped``: a playlist of a
    recording of which something failed.
    """

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    bytes_copied: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every object of the source is in the target, proven."""
        return self.outcomes["failed"] == self.outcomes["skipped"] == 0


class NotTheSame(ObjectStoreError):
    """The target gives back something else than it was given."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}: the target gives back other bytes than it was given")
        self.key = key


class Source(Protocol):
    """What can be copied from: any ObjectStore, and what lists and gives objects like one."""

    def list(self, prefix: str = EVERYTHING) -> AsyncIterator[StoredObject]:
        """See ObjectStore."""
        ...

    async def get_file(self, key: str, path: Path) -> int:
        """See ObjectStore."""
        ...


class Target(Source, Protocol):
    """What can be copied to: any ObjectStore, and what takes objects like one."""

    async def head(self, key: str) -> StoredObject | None:
        """See ObjectStore."""
        ...

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        """See ObjectStore."""
        ...


class Copy:
    """One run over all objects below a prefix.

    ``sha256_of`` tells what an object of the source must be, in hex, where that was written down; another one, or none,
    ends the copy with ObjectDamaged.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        workers: int,
        read_back: bool = False,
        sha256_of: Callable[[StoredObject], str | None] = lambda _stored: None,
        on_object: OnObject = lambda _stored, _outcome: None,
    ) -> None:
        self._source = source
        self._target = target
        self._workers = workers
        self._read_back = read_back
        self._sha256_of = sha256_of
        self._on_object = on_object
        self._report = CopyReport()
        self._incomplete: set[str] = set()

    async def run(self, prefix: str = EVERYTHING) -> CopyReport:
        """Copy. Raises ObjectDamaged, and StoreUnavailable when a store does not answer for long.

        What was copied until then stays.
        """
        # A read that was cancelled may still write into it for a moment, which is no reason to fail.
        with tempfile.TemporaryDirectory(prefix="livestream-copy-", ignore_cleanup_errors=True) as directory:
            for wanted in (is_media, is_media_playlist, is_master):
                await self._pass(self._source.list(prefix), wanted, Path(directory))
        return self._report

    async def _pass(self, listing: AsyncIterator[StoredObject], wanted: Callable[[str], bool], work: Path) -> None:
        queue: asyncio.Queue[StoredObject | None] = asyncio.Queue(maxsize=self._workers * 2)
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._workers):
                    tasks.create_task(self._work(queue, work))
                async for stored in listing:
                    if wanted(stored.key):
                        await queue.put(stored)
                for _ in range(self._workers):
                    await queue.put(None)
        except* ObjectStoreError as group:
            failure = group.exceptions[0]
        # Not within `except*`: what is raised there comes out as a group again, at least in Debian's Python 3.11.2.
        if failure is not None:
            raise failure

    async def _work(self, queue: asyncio.Queue[StoredObject | None], work: Path) -> None:
        while (stored := await queue.get()) is not None:
            outcome = await self._settle(stored, work / uuid4().hex)
            self._report.outcomes[outcome] += 1
            self._on_object(stored, outcome)

    async def _settle(self, stored: StoredObject, work: Path) -> Outcome:
        """Copy one object, trying a few times."""
        recording = stored.key.partition("/")[0]
        if not is_media(stored.key) and recording in self._incomplete:
            return "skipped"
        try:
            return await patiently(partial(self._copy, stored, work))
        except NotTheSame as error:
            self._incomplete.add(recording)
            if len(self._report.failures) < FAILURES_KEPT_MAX:
                self._report.failures[stored.key] = str(error)
            return "failed"
        finally:
            await asyncio.to_thread(work.unlink, missing_ok=True)

    async def _copy(self, stored: StoredObject, work: Path) -> Outcome:
        key, promised = stored.key, self._sha256_of(stored)
        try:
            wanted = await fetched(self._source, key, work)
        except ObjectMissing:
            if promised is not None:
                raise ObjectDamaged(key, "is missing") from None
            return "gone"
        if promised is not None and wanted.sha256 != promised:
            raise ObjectDamaged(key, "has other bytes than were written down")
        if await self._is_there(key, wanted, work):
            return "there"
        await self._target.put_file(key, work, kind_of(key))
        if not await self._is_there(key, wanted, work):
            raise NotTheSame(key)
        self._report.bytes_copied += wanted.size_bytes
        return "copied"

    async def _is_there(self, key: str, wanted: Digest, work: Path) -> bool:
        stored = await self._target.head(key)
        if stored is None or stored.size_bytes != wanted.size_bytes:
            return False
        if stored.md5 == wanted.md5 and not self._read_back:
            return True
        back = work.with_suffix(".back")
        try:
            return (await fetched(self._target, key, back)).sha256 == wanted.sha256
        except ObjectMissing:
            return False
        finally:
            await asyncio.to_thread(back.unlink, missing_ok=True)


def is_master(key: str) -> bool:
    """Whether it is a master playlist: it names media playlists."""
    return key.rpartition("/")[2] == MASTER


def is_media_playlist(key: str) -> bool:
    """Whether it is a media playlist: it names media."""
    return key.rpartition("/")[2] == INDEX


def is_media(key: str) -> bool:
    """Whether it names nothing."""
    return not is_master(key) and not is_media_playlist(key)


async def fetched(store: Source, key: str, path: Path) -> Digest:
    """Write the object to ``path``, and say what it is. Raises ObjectMissing, StoreUnavailable."""
    await store.get_file(key, path)
    return await asyncio.to_thread(digest_of, path)


def digest_of(path: Path) -> Digest:
    """What a file is."""
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            sha256.update(piece)
            md5.update(piece)
            size_bytes += len(piece)
    return Digest(size_bytes, sha256.hexdigest(), md5.hexdigest())


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do ``work``, up to ATTEMPTS_MAX times while a store does not answer or gives back something else."""
    backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
    while True:
        try:
            return await work()
        except (StoreUnavailable, NotTheSame):
            if backoff.attempts + 1 >= ATTEMPTS_MAX:
                raise
        await backoff.wait()
