"""The files of the object store on a disk: no path leaves its folder, and what was acknowledged survives a crash.

Every folder on the way is opened by its name in the one above, never through a symbolic link, so that nothing that lies
in the folder can lead out of it, at whatever moment it is put there. A new file is written aside, flushed, renamed to
its place and its folder flushed; a new folder is flushed into the one above before anything is put into it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from runtime.objects import StoredObject, is_key

# Where files are written before they get their name; a key never begins with a dot.
UNFINISHED = ".unfinished"
# No write takes so long: what is older was left by a process that was killed.
LEFTOVER_SECONDS = 3_600.0
DURABLE_FOLDERS_MAX = 10_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK = frozenset({errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_OBJECT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})


class NoObject(Exception):
    """There is no regular file of that name: nothing, a folder, or a link."""


@dataclass(frozen=True, slots=True)
class Modes:
    """Permissions of what is made, whatever the umask."""

    file: int
    folder: int


# Recordings are public, and the edge may run as another user.
PUBLIC = Modes(file=0o644, folder=0o755)
PRIVATE = Modes(file=0o600, folder=0o700)


class DiskFiles:
    """Files below ``root``, which may itself be a link. Every method blocks, and may raise OSError."""

    def __init__(self, root: Path, modes: Modes) -> None:
        self._root = root
        self._modes = modes
        self._durable: set[tuple[str, ...]] = set()

    def prepare(self) -> None:
        """Make the root and what is missing above it, durably."""
        made = [folder for folder in (self._root, *self._root.parents) if not folder.exists()]
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
            folder.chmod(self._modes.folder)
            above = os.open(folder.parent, _FOLDER)
            try:
                os.fsync(above)
            finally:
                os.close(above)
        with self._folder((UNFINISHED,), make=True):
            pass

    def write(self, key: str, fill: Callable[[BinaryIO], None]) -> StoredObject:
        """Have ``fill`` write the file; it is there whole and durable afterwards, or as if nothing had happened."""
        with self._aside() as (aside, aside_name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(aside_name, flags, self._modes.file, dir_fd=aside)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, self._modes.file)
                fill(file)
                file.flush()
                os.fsync(descriptor)
                written = _stored(key, os.fstat(descriptor))
            self._rename(aside, aside_name, key)
        return written

    def link(self, source_key: str, target_key: str) -> StoredObject | None:
        """Give the file a second name, durably; None where its file system gives no more names. Raises NoObject.

        The two never change each other: a file is replaced, not written to.
        """
        self.stat(source_key)
        *folders, name = source_key.split("/")
        with self._aside() as (aside, aside_name):
            try:
                with _told_apart(), self._folder(tuple(folders)) as folder:
                    os.link(name, aside_name, src_dir_fd=folder, dst_dir_fd=aside, follow_symlinks=False)
            except OSError as error:
                if error.errno in _NO_LINK:
                    return None
                raise
            linked = _stored(target_key, os.stat(aside_name, dir_fd=aside, follow_symlinks=False))
            self._rename(aside, aside_name, target_key)
        return linked

    @contextmanager
    def _aside(self) -> Iterator[tuple[int, str]]:
        """Where a file may be made before it gets its name: the folder, and a name that is free again afterwards."""
        name = uuid4().hex
        with self._folder((UNFINISHED,), make=True) as aside:
            try:
                yield aside, name
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=aside)

    def _rename(self, aside: int, aside_name: str, key: str) -> None:
        *folders, name = key.split("/")
        with self._folder(tuple(folders), make=True) as target:
            os.rename(aside_name, name, src_dir_fd=aside, dst_dir_fd=target)
            # The rename itself is durable only with the folder.
            os.fsync(target)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """The file, for reading. Raises NoObject."""
        *folders, name = key.split("/")
        with _told_apart(), self._folder(tuple(folders)) as folder:
            # Not blocking: whoever reads from a pipe without a writer would wait for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NoObject
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def stat(self, key: str) -> StoredObject:
        """Size and version of the file. Raises NoObject."""
        *folders, name = key.split("/")
        with _told_apart(), self._folder(tuple(folders)) as folder:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise NoObject
        return _stored(key, status)

    def remove(self, key: str) -> None:
        """Remove the file. Raises NoObject."""
        *folders, name = key.split("/")
        with _told_apart(), self._folder(tuple(folders)) as folder:
            os.unlink(name, dir_fd=folder)

    def walk(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Every file below a folder (or EVERYTHING) whose name is a key, in the order of the keys; folder by folder.

        Only keys behind ``after``: folders that lie before it altogether are not even opened.
        """
        with suppress(NoObject):
            with _told_apart(), self._folder(tuple(prefix.split("/")[:-1])) as folder, os.scandir(folder) as entries:
                found = sorted(filter(None, (_seen(prefix, entry) for entry in entries)))
            for key, stored in found:
                if stored is None and (key > after or after.startswith(key)):
                    yield from self.walk(key, after)
                elif stored is not None and key > after:
                    yield stored

    def sizes(self, folder: str) -> dict[str, int]:
        """The size of every file right in a folder, by name; nothing when there is no such folder."""
        found: dict[str, int] = {}
        with (
            suppress(NoObject),
            _told_apart(),
            self._folder(tuple(folder.split("/")[:-1])) as descriptor,
            os.scandir(descriptor) as entries,
        ):
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def free_bytes(self) -> int:
        """What we may still use of the disk."""
        status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def sweep(self, older_than_seconds: float = LEFTOVER_SECONDS, *, dry_run: bool = False) -> int:
        """Remove what killed writers left; how many files it was."""
        swept = 0
        with self._folder((UNFINISHED,), make=True) as aside, os.scandir(aside) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < time.time() - older_than_seconds:
                        if not dry_run:
                            os.unlink(entry.name, dir_fd=aside)
                        swept += 1
        return swept

    @contextmanager
    def _folder(self, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        descriptor = self._open_root()
        try:
            for depth in range(len(names)):
                below = self._enter(descriptor, names[: depth + 1], make=make)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        try:
            return os.open(self._root, _FOLDER)
        except (FileNotFoundError, NotADirectoryError) as error:
            # Without its errno: a store that is away must not look like one that lacks the object.
            raise OSError(f"{self._root} is not a directory: is its disk mounted?") from error

    def _enter(self, above: int, names: tuple[str, ...], *, make: bool) -> int:
        if not make:
            return os.open(names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        if names in self._durable:
            with suppress(FileNotFoundError):
                return os.open(names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        try:
            os.mkdir(names[-1], self._modes.folder, dir_fd=above)
            made = True
        except FileExistsError:
            made = False
        descriptor = os.open(names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        try:
            if made:
                os.fchmod(descriptor, self._modes.folder)
            # Also when another process has made it: it may not have come to this line yet.
            os.fsync(above)
        except BaseException:
            os.close(descriptor)
            raise
        if len(self._durable) >= DURABLE_FOLDERS_MAX:
            self._durable.clear()
        self._durable.add(names)
        return descriptor


@contextmanager
def _told_apart() -> Iterator[None]:
    """No object is one thing, a disk that does not answer another."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_OBJECT:
            raise NoObject from error
        raise


def _seen(prefix: str, entry: os.DirEntry[str]) -> tuple[str, StoredObject | None] | None:
    """An entry of a folder with what it is sorted by: S3 sorts whole keys, so a folder counts with its slash."""
    key = prefix + entry.name
    if not is_key(key):
        return None
    if entry.is_dir(follow_symlinks=False):
        return f"{key}/", None
    with suppress(FileNotFoundError):
        if entry.is_file(follow_symlinks=False):
            return key, _stored(key, entry.stat(follow_symlinks=False))
    return None


def _stored(key: str, status: os.stat_result) -> StoredObject:
    # When it got its name, and not when its bytes were written: a copy is as young as its name.
    return StoredObject(
        key,
        status.st_size,
        version=f"{status.st_ino}.{status.st_mtime_ns}",
        modified_at=datetime.fromtimestamp(status.st_ctime, UTC),
    )
