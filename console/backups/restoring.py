"""Brings a server back from a backup: into an empty store and an empty database, and nowhere else.

Objects come first, each compared with the manifest; the database comes last and in one transaction. So a restore that
is killed leaves an empty database and a part of the objects, and is done again with ``resume``.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from archive.objects.copying import Copy, Outcome
from chat.emotes.images import EMOTES
from console.backups import layout, postgres
from console.backups.errors import BackupDamaged, NewerSchema, NoPlaceForEmotes, TargetDamages, TargetNotEmpty
from console.backups.layout import Header
from console.backups.settings import BackupSettings
from console.backups.stores import ServerObjects
from console.backups.verifying import damage_of_files
from runtime.objects import EVERYTHING, ObjectMissing, StoredObject, StoreUnavailable, checked_key
from runtime.objects_disk_files import PRIVATE, DiskFiles, NoObject

Say = Callable[[str], None]

ENTRIES_SHOWN_MAX = 5
# What is on every new file system, and what the store itself makes.
MAY_BE_THERE = frozenset({"lost+found", ".unfinished"})


@dataclass(frozen=True)
class Restored:
    """What came of it. ``absent``: objects of the manifest that a store, which was not restored, does not have."""

    path: Path
    header: Header
    objects_restored: int
    objects_there: int
    absent: int
    migrations_behind: int


class BackupObjects:
    """The objects of a backup, listed by its manifest; ``version`` is the SHA-256 that was written down."""

    def __init__(self, backup: Path) -> None:
        self._backup = backup
        self._files = DiskFiles(backup / layout.OBJECTS, PRIVATE)

    async def list(self, prefix: str = EVERYTHING) -> AsyncIterator[StoredObject]:
        """Every object below the prefix."""
        for entry in layout.read_manifest(self._backup):
            if entry.key.startswith(prefix):
                yield StoredObject(checked_key(entry.key), entry.size_bytes, version=entry.sha256)

    async def get_file(self, key: str, path: Path) -> int:
        """Write the object to ``path``. Raises ObjectMissing, StoreUnavailable."""

        def copy() -> int:
            with self._files.open(key) as file, path.open("wb") as target:
                shutil.copyfileobj(file, target)
                return target.tell()

        try:
            return await asyncio.to_thread(copy)
        except NoObject as error:
            raise ObjectMissing(key) from error
        except OSError as error:
            raise StoreUnavailable(f"read {key} of the backup", str(error)) from error


async def restore_backup(
    settings: BackupSettings, objects: ServerObjects, path: Path, *, workers: int, resume: bool, say: Say
) -> Restored:
    """Restore the backup at ``path``. Raises BackupError, ObjectStoreError; then the database is as it was."""
    backup = await asyncio.to_thread(layout.find, path)
    header = await asyncio.to_thread(_checked, backup, say)
    server_version = await postgres.require_empty(settings.postgres_dsn)
    copied, there, absent = 0, 0, 0
    if header.objects.included:
        if not objects.takes_emotes and await asyncio.to_thread(_has_emotes, backup):
            raise NoPlaceForEmotes
        await _require_empty_store(objects, backup, resume=resume)
        copied, there = await _restore_objects(objects, backup, header, workers=workers, say=say)
    else:
        absent = await _absent(objects, backup)
    say("restoring the database")
    await postgres.restore(settings.postgres_dsn, backup / layout.DUMP, server_version=server_version)
    return Restored(backup, header, copied, there, absent, postgres.migrations_behind(header.migrations))


def require_empty_directory(directory: Path) -> None:
    """Raise TargetNotEmpty with what is in it; one that is not there is empty."""
    if not directory.exists():
        return
    entries = (entry.name for entry in directory.iterdir() if entry.name not in MAY_BE_THERE)
    if found := list(islice(entries, ENTRIES_SHOWN_MAX)):
        raise TargetNotEmpty(
            f"{directory} is not empty ({', '.join(found)}): name another in the settings, or, "
            "if a restore of the same backup was interrupted, go on with --resume"
        )


def _checked(backup: Path, say: Say) -> Header:
    """The header of a backup that this version can restore, with the dump and the manifest that belong to it."""
    header = layout.read_header(backup)
    if unknown := postgres.unknown_migrations(header.migrations):
        raise NewerSchema(unknown, header.version)
    say("checking the backup")
    if damage := damage_of_files(backup, header):
        raise BackupDamaged(*damage)
    return header


def _has_emotes(backup: Path) -> bool:
    return any(entry.key.startswith(EMOTES) for entry in layout.read_manifest(backup))


async def _require_empty_store(objects: ServerObjects, backup: Path, *, resume: bool) -> None:
    """Raise TargetNotEmpty unless the store is empty, or holds nothing but objects of this backup and may."""
    entries = layout.read_manifest(backup)
    entry = next(entries, None)
    async for stored in objects.list():
        while entry is not None and entry.key < stored.key:
            entry = next(entries, None)
        if not resume:
            raise TargetNotEmpty(
                f"the object store is not empty ({stored.key} is in it): name another, or, if a restore of the same "
                "backup was interrupted, go on with --resume"
            )
        if entry is None or (entry.key, entry.size_bytes) != (stored.key, stored.size_bytes):
            raise TargetNotEmpty(f"the object store holds {stored.key}, which is not from this backup")


async def _restore_objects(
    objects: ServerObjects, backup: Path, header: Header, *, workers: int, say: Say
) -> tuple[int, int]:
    done = 0

    def on_object(_stored: StoredObject, _outcome: Outcome) -> None:
        nonlocal done
        done += 1
        say(f"{done} of {header.objects.count} objects")

    copy = Copy(BackupObjects(backup), objects, workers=workers, sha256_of=lambda one: one.version, on_object=on_object)
    report = await copy.run()
    if not report.complete:
        raise TargetDamages(*list(report.failures.values())[:ENTRIES_SHOWN_MAX])
    return report.outcomes["copied"], report.outcomes["there"]


async def _absent(objects: ServerObjects, backup: Path) -> int:
    """How many objects of the manifest the store does not have in their size."""
    entries = layout.read_manifest(backup)
    missing, entry = 0, next(entries, None)
    async for stored in objects.list():
        while entry is not None and entry.key < stored.key:
            missing, entry = missing + 1, next(entries, None)
        if entry is not None and entry.key == stored.key:
            missing, entry = missing + (entry.size_bytes != stored.size_bytes), next(entries, None)
    return missing + (entry is not None) + sum(1 for _ in entries)
