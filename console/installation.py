"""The directory of a server for real use: where it is, its settings file, and the lock of who runs in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.env_file import ENV_FILE, EnvFileInvalid, read_env_file

SERVICE_DIRECTORY = Path("/var/lib/livestream")
LOCK_FILE = "run/solo.lock"

DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help=f"Where the server lives. Default: {SERVICE_DIRECTORY} for root and for the user who owns that directory, "
        "else ~/.local/share/livestream.",
        show_default=False,
    ),
]


class InUse(Exception):
    """Somebody runs the server of this directory; `holder` is what the lock file says of them."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(f"livestream solo already runs in {directory} ({holder or 'it is just starting'})")
        self.directory = directory
        self.holder = holder


def directory_of(given: Path | None) -> Path:
    """The directory that a verb works in, absolute."""
    if given is not None:
        return given.resolve()
    if os.geteuid() == 0 or _is_mine(SERVICE_DIRECTORY):
        return SERVICE_DIRECTORY
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "livestream"


def env_file_of(directory: Path) -> Path:
    """Its settings file."""
    return directory / ENV_FILE


def load_env_file(path: Path) -> list[str]:
    """Put a file's settings into the environment, where nothing of that name is set; the answer: what was, otherwise.

    Raises EnvFileInvalid.
    """
    overridden = []
    for name, value in read_env_file(path).items():
        if os.environ.setdefault(name, value) != value:
            overridden.append(name)
    return overridden


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Be the one server of this directory; raises InUse. The kernel lets go of it when this process ends, however."""
    path = directory / LOCK_FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUse(directory, lock.read().strip()) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


def is_held(directory: Path) -> bool:
    """Whether the server of this directory runs."""
    try:
        with (directory / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _is_mine(directory: Path) -> bool:
    try:
        return directory.stat().st_uid == os.geteuid()
    except OSError:
        return False


__all__ = [
    "DirectoryOption",
    "EnvFileInvalid",
    "InUse",
    "directory_of",
    "env_file_of",
    "held",
    "is_held",
    "load_env_file",
]
