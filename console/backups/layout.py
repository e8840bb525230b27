"""Where things are in a backup, what its header says, and which backups a directory holds.

A directory of backups has one directory per backup, named by its time in UTC; each is whole by itself::

    20261123T013200Z/
        backup.json      the header; everything else is checked against it
        database.dump    pg_dump's custom format
        objects.jsonl    the manifest: key, size and SHA-256 of every object, in the order of the keys
        objects/         the objects themselves, unless they were left out
        livestream.env   the settings file, if it was asked for

One that is being made has a name that begins with a dot, and gets its own name when it is whole.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from console.backups.errors import BackupBusy, BackupDamaged, NoSuchBackup

HEADER = "backup.json"
DUMP = "database.dump"
MANIFEST = "objects.jsonl"
OBJECTS = "objects"
SETTINGS = "livestream.env"
UNFINISHED_PREFIX = ".unfinished-"
LOCK = ".lock"
FILE_MODE = 0o600
FOLDER_MODE = 0o700

_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?", re.ASCII)


class Part(BaseModel):
    """One file of the backup; the digest in hex."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str


class ObjectsPart(BaseModel):
    """The objects. ``absent`` are the first of those that the database names and the store did not have."""

    model_config = ConfigDict(frozen=True)

    count: int
    size_bytes: int
    manifest: Part
    included: bool
    absent_count: int
    absent: tuple[str, ...]


class Header(BaseModel):
    """What a backup says of itself. ``migrations``: label to checksum, by schema."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: str
    made_at: datetime
    bus_backend: str
    object_store: str
    server_version: str
    migrations: Mapping[str, Mapping[str, str]]
    database: Part
    objects: ObjectsPart
    settings_included: bool
    not_in_it: tuple[str, ...]


class Entry(BaseModel):
    """A line of the manifest. ``version`` is the store's own mark; it tells the next backup what has not changed."""

    model_config = ConfigDict(frozen=True)

    key: str
    size_bytes: int
    sha256: str
    version: str | None = None


def read_header(backup: Path) -> Header:
    """The header; raises NoSuchBackup, BackupDamaged."""
    try:
        return Header.model_validate_json((backup / HEADER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchBackup(backup) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BackupDamaged(f"{backup / HEADER}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_manifest(backup: Path, *, partial: bool = False) -> Iterator[Entry]:
    """The manifest line by line; ``partial`` ends at a line that a killed run did not finish. Raises BackupDamaged."""
    path = backup / MANIFEST
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Entry.model_validate_json(line)
            except ValidationError:
                if partial:
                    return
                raise BackupDamaged(f"{path} line {number}: it is not an entry") from None


def find(path: Path) -> Path:
    """The backup at ``path``, or the newest below it. Raises NoSuchBackup."""
    if (path / HEADER).is_file():
        return path
    whole = backups_below(path)
    if not whole:
        raise NoSuchBackup(path)
    return whole[-1]


def backups_below(root: Path) -> list[Path]:
    """The whole backups of a directory, oldest first."""
    if not root.is_dir():
        return []
    named = (entry for entry in root.iterdir() if _NAME.fullmatch(entry.name))
    return sorted(entry for entry in named if (entry / HEADER).is_file())


def unfinished_below(root: Path) -> list[Path]:
    """What killed runs left, oldest first."""
    return sorted(entry for entry in root.iterdir() if entry.name.startswith(UNFINISHED_PREFIX))


def free_name(root: Path, now: datetime) -> str:
    """The name of a backup that is made now."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name, number = stamp, 1
    # Not that of a run that was killed either, which is still there for the next one to learn from.
    while (root / name).exists() or (root / f"{UNFINISHED_PREFIX}{name}").exists():
        number += 1
        name = f"{stamp}-{number}"
    return name


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Make the directory if it is missing, and be the only one who makes a backup in it; raises BackupBusy."""
    if not root.exists():
        root.mkdir(mode=FOLDER_MODE, parents=True)
    descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupBusy(root) from None
        yield
    finally:
        os.close(descriptor)


def part_of(path: Path) -> Part:
    """Size and digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(size_bytes=file.tell(), sha256=digest)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, durably."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def header_text(header: Header) -> str:
    """The header as it is stored."""
    return json.dumps(header.model_dump(mode="json"), indent=2) + "\n"
