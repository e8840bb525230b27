"""Where the programs of the local stack are installed; the versions are those that `deploy/local/setup` installs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from deploy.local.errors import NotInstalled

CHECKOUT = Path(__file__).resolve().parents[2]
SETUP = Path(__file__).with_name("setup")
LOCAL = CHECKOUT / ".local"


def stack_directory(profile: str) -> Path:
    """Where this checkout's own stack of a profile lives."""
    return LOCAL / profile


def _version(name: str) -> str:
    """The version that the setup script pins, so that it is written down once."""
    found = re.search(rf"^{name}_version=(\S+)$", SETUP.read_text(), re.MULTILINE)
    if found is None:
        raise NotInstalled(f"{name} (deploy/local/setup names no version)")
    return found.group(1)


def cache() -> Path:
    """The per-user directory that every checkout shares."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "livestream"


def kafka_jars() -> Path:
    """The directory of the broker's jars."""
    directory = cache() / f"kafka-{_version('kafka')}"
    if not (directory / ".complete").exists():
        raise NotInstalled(f"Kafka ({directory})")
    return directory


def minio() -> Path:
    """The MinIO server binary."""
    binary = cache() / f"minio-{_version('minio')}"
    if not binary.exists():
        raise NotInstalled(f"MinIO ({binary})")
    return binary


def postgres_programs() -> Path:
    """The directory of the newest Postgres' own programs; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise NotInstalled("Postgres (/usr/lib/postgresql/*/bin/postgres)")
    return found[-1].parent


def program(name: str) -> str:
    """A program on PATH, or where Debian puts daemons, which an ordinary user's PATH leaves out."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise NotInstalled(name)
    return found
