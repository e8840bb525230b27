"""Makes a backup: the database as of one moment, then the objects, then the header; it gets its name when it is whole.

The order is the guarantee. An object is put before a row names it, and a row goes before the object that it named. So
what the database named at its moment was in the store then, and the objects that are listed afterwards are at least
those, unless they were deleted in between; objects that no row of the dump names yet do no harm. What the snapshot
names is read in that same snapshot and compared with the manifest: an object that is missing all the same is told.
"""

import asyncio
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TextIO
from uuid import UUID, uuid4

import asyncpg

from archive.objects.copying import Source, fetched, patiently
from archive.store import QUERIES
from chat.emotes.images import emote_key
from chat.store import QUERIES as CHAT_QUERIES
from console.backups import layout, postgres
from console.backups.errors import NothingToBackUp
from console.backups.layout import Entry, Header, ObjectsPart
from console.backups.settings import BackupSettings
from runtime.objects import ObjectMissing, StoredObject

Say = Callable[[str], None]

NOT_IN_IT = (
    "chat history and viewers (Redis): gone with every restart of Redis, and not needed again",
    "live segments that were not shipped yet: at most the streams that were running",
    "topics of Kafka, where it is used: the outboxes are in the database, consumers' positions in Kafka are not",
)
ABSENT_KEPT_MAX = 100
NAMED_ROWS_AT_ONCE = 1_000
NAMED_FILE = ".named"
COPYING = ".copying"


@dataclass(frozen=True)
class Wishes:
    """What shall be in the backup."""

    with_objects: bool
    settings_file: Path | None
    workers: int
    keep: int | None


@dataclass(frozen=True)
class Made:
    """A backup that was made. ``linked`` of its objects were the same as in the one before."""

    path: Path
    header: Header
    linked: int
    removed: tuple[str, ...]


@dataclass
class _Before:
    """An earlier backup, whole or not; its manifest is read along with the listing, both in the order of the keys."""

    path: Path
    entries: Iterator[Entry]
    whole: bool = True
    _next: Entry | None = None

    def find(self, key: str) -> Entry | None:
        """Its entry for the key, which must come in order."""
        while self._next is None or self._next.key < key:
            self._next = next(self.entries, None)
            if self._next is None:
                self.entries = iter(())
                return None
        return self._next if self._next.key == key else None


@dataclass
class _Snapshot:
    """What one transaction has told of the database."""

    server_version: str
    migrations: dict[str, dict[str, str]]


async def make_backup(settings: BackupSettings, objects: Source, root: Path, wishes: Wishes, say: Say) -> Made:
    """Make a backup in ``root``. Raises BackupError, ObjectStoreError, OSError and what asyncpg raises."""
    with layout.locked(root):
        now = datetime.now(UTC)
        name = layout.free_name(root, now)
        leftovers = layout.unfinished_below(root)
        work = root / f"{layout.UNFINISHED_PREFIX}{name}"
        work.mkdir(mode=layout.FOLDER_MODE)
        say("dumping the database")
        snapshot = await _dump(settings, work)
        keeper = Keeper(objects, work, _earlier(root, leftovers), with_objects=wishes.with_objects, say=say)
        await keeper.run(wishes.workers)
        header = await asyncio.to_thread(_finish, settings, work, wishes, snapshot, keeper, now)
        # Everything of it is on the disk before it gets the name of a whole one.
        await asyncio.to_thread(os.sync)
        work.rename(root / name)
        await asyncio.to_thread(os.sync)
        for leftover in leftovers:
            shutil.rmtree(leftover)
        removed = _remove_old(root, wishes.keep)
    return Made(root / name, header, keeper.linked, removed)


def _earlier(root: Path, leftovers: Sequence[Path]) -> list[_Before]:
    found = [_Before(path, layout.read_manifest(path)) for path in layout.backups_below(root)[-1:]]
    partial = [path for path in leftovers if (path / layout.MANIFEST).is_file()]
    return found + [_Before(path, layout.read_manifest(path, partial=True), whole=False) for path in partial[-1:]]


async def _dump(settings: BackupSettings, work: Path) -> _Snapshot:
    connection = await postgres.connect(settings.postgres_dsn)
    try:
        # Read-only: it has no transaction id, so no outbox waits for it.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            schemas = await postgres.our_schemas(connection)
            if not schemas:
                raise NothingToBackUp("the database has none of our schemas: is LIVESTREAM_POSTGRES_DSN the right one?")
            migrations = {schema: await postgres.applied_migrations(connection, schema) for schema in schemas}
            version = await connection.fetchval("SHOW server_version")
            name = await connection.fetchval("SELECT pg_export_snapshot()")
            dump = work / layout.DUMP
            await postgres.dump(settings.postgres_dsn, dump, schemas=schemas, snapshot=name, server_version=version)
            dump.chmod(layout.FILE_MODE)
            with (work / NAMED_FILE).open("w", encoding="ascii") as file:
                if "archive" in schemas:
                    await _write_named(connection, file)
                if "chat" in schemas:
                    await _write_emotes(connection, file)
    finally:
        await connection.close()
    return _Snapshot(version, migrations)


async def _write_named(connection: "asyncpg.Connection[asyncpg.Record]", file: TextIO) -> None:
    """Write down what the snapshot names: a key and a size (or nothing) a line, in the order of the keys."""
    await connection.execute("SET LOCAL search_path = archive")
    named = QUERIES.list_named_objects
    everything = named.arguments({"first_id": UUID(int=0), "last_id": UUID(int=(1 << 128) - 1)})
    async for row in connection.cursor(named.sql, *everything, prefetch=NAMED_ROWS_AT_ONCE):
        file.write(f"{row['key']} {'' if row['size_bytes'] is None else row['size_bytes']}\n")


async def _write_emotes(connection: "asyncpg.Connection[asyncpg.Record]", file: TextIO) -> None:
    """The same of emotes. They come behind recordings: ids of these begin with their time, a 0 for 500 years yet."""
    await connection.execute("SET LOCAL search_path = chat")
    async for row in connection.cursor(CHAT_QUERIES.list_ready_emotes.sql, prefetch=NAMED_ROWS_AT_ONCE):
        file.write(f"{emote_key(row['emote_id'])} {row['size_bytes']}\n")


class Keeper:
    """Writes the manifest in the order of the listing, and keeps the objects beside it."""

    def __init__(
        self, objects: Source, work: Path, earlier: Sequence[_Before], *, with_objects: bool, say: Say
    ) -> None:
        self._objects = objects
        self._work = work
        self._earlier = earlier
        self._with_objects = with_objects
        self._say = say
        self.count = 0
        self.size_bytes = 0
        self.linked = 0

    async def run(self, workers: int) -> None:
        """Keep everything. Raises StoreUnavailable, OSError."""
        (self._work / COPYING).mkdir(mode=layout.FOLDER_MODE)
        if self._with_objects:
            (self._work / layout.OBJECTS).mkdir(mode=layout.FOLDER_MODE)
        running: deque[asyncio.Task[Entry | None]] = deque()
        descriptor = os.open(self._work / layout.MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, layout.FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="ascii") as manifest:
            try:
                async for stored in self._objects.list():
                    known = [(one, one.find(stored.key)) for one in self._earlier]
                    running.append(asyncio.create_task(self._keep(stored, known)))
                    if len(running) >= workers:
                        self._write(manifest.write, await running.popleft())
                while running:
                    self._write(manifest.write, await running.popleft())
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        shutil.rmtree(self._work / COPYING)

    def _write(self, write: Callable[[str], object], entry: Entry | None) -> None:
        if entry is None:
            return
        write(entry.model_dump_json() + "\n")
        self.count += 1
        self.size_bytes += entry.size_bytes
        self._say(f"{self.count} objects, {self.size_bytes / 1e6:.0f} MB")

    async def _keep(self, stored: StoredObject, known: Sequence[tuple[_Before, Entry | None]]) -> Entry | None:
        for earlier, entry in known:
            if entry is None or not _is_unchanged(entry, stored):
                continue
            if await asyncio.to_thread(self._link, earlier, entry):
                self.linked += 1
                return entry
        copy = self._work / COPYING / uuid4().hex
        try:
            digest = await patiently(lambda: fetched(self._objects, stored.key, copy))
        except ObjectMissing:
            # Deleted since it was listed.
            return None
        await asyncio.to_thread(self._place, copy, stored.key)
        return Entry(key=stored.key, size_bytes=digest.size_bytes, sha256=digest.sha256, version=stored.version)

    def _link(self, earlier: _Before, entry: Entry) -> bool:
        """Whether the object need not be read: it is in the earlier backup, and one file can be in both."""
        if not self._with_objects:
            return True
        there, target = (path / layout.OBJECTS / entry.key for path in (earlier.path, self._work))
        _make_folder(target.parent)
        # No such object in it, another file system, or one without links: then it is copied.
        with suppress(OSError):
            # What a killed run has left may not have reached the disk, if the machine went down with it.
            if earlier.whole or layout.part_of(there).sha256 == entry.sha256:
                target.hardlink_to(there)
                return True
        return False

    def _place(self, copy: Path, key: str) -> None:
        if not self._with_objects:
            copy.unlink()
            return
        target = self._work / layout.OBJECTS / key
        _make_folder(target.parent)
        copy.chmod(layout.FILE_MODE)
        copy.rename(target)


def _is_unchanged(entry: Entry, stored: StoredObject) -> bool:
    return stored.version is not None and (entry.version, entry.size_bytes) == (stored.version, stored.size_bytes)


def _make_folder(folder: Path) -> None:
    for one in reversed((folder, *folder.parents)):
        if not one.exists():
            one.mkdir(mode=layout.FOLDER_MODE, exist_ok=True)


def _finish(
    settings: BackupSettings, work: Path, wishes: Wishes, snapshot: _Snapshot, keeper: Keeper, now: datetime
) -> Header:
    absent = list(_absent(work))
    (work / NAMED_FILE).unlink(missing_ok=True)
    if wishes.settings_file is not None:
        layout.write_private(work / layout.SETTINGS, wishes.settings_file.read_text(encoding="utf-8"))
    header = Header(
        version=version_of("livestream"),
        made_at=now,
        bus_backend=settings.bus_backend,
        object_store=settings.archive_object_store,
        server_version=snapshot.server_version,
        migrations=snapshot.migrations,
        database=layout.part_of(work / layout.DUMP),
        objects=ObjectsPart(
            count=keeper.count,
            size_bytes=keeper.size_bytes,
            manifest=layout.part_of(work / layout.MANIFEST),
            included=wishes.with_objects,
            absent_count=len(absent),
            absent=tuple(absent[:ABSENT_KEPT_MAX]),
        ),
        settings_included=wishes.settings_file is not None,
        not_in_it=NOT_IN_IT,
    )
    layout.write_private(work / layout.HEADER, layout.header_text(header))
    return header


def _absent(work: Path) -> Iterator[str]:
    """Keys that the database names and the manifest does not have, or has in another size."""
    if not (work / NAMED_FILE).exists():
        return
    entries = _Before(work, layout.read_manifest(work))
    with (work / NAMED_FILE).open(encoding="ascii") as named:
        for line in named:
            key, _, size = line.rstrip("\n").partition(" ")
            entry = entries.find(key)
            if entry is None or (size and int(size) != entry.size_bytes):
                yield key


def _remove_old(root: Path, keep: int | None) -> tuple[str, ...]:
    """Remove all but the newest ``keep`` backups."""
    old = [] if keep is None else layout.backups_below(root)[:-keep]
    for backup in old:
        # Under a name that is no backup's first: a run that is killed here leaves nothing that looks whole.
        going = backup.rename(root / f"{layout.UNFINISHED_PREFIX}{backup.name}")
        shutil.rmtree(going)
    return tuple(backup.name for backup in old)
