"""Which port each part listens on: fixed offsets from a base that moves when a foreign program is in the way."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import places
from deploy.local.errors import StackError

BASE = 17000
BASE_STEP = 100
BASES_TRIED_MAX = 100

OFFSETS: Mapping[str, int] = {
    "edge": 0,
    "rtmp": 1,
    "control": 2,
    "rtmp-push": 3,
    "postgres": 10,
    "redis": 11,
    "kafka": 12,
    "kafka-controller": 13,
    "minio": 14,
    "accounts": 20,
    "streaming": 21,
    "notify": 22,
    "chat-1": 23,
    "chat-2": 24,
    "archive": 25,
    "archive-worker": 26,
    "archive-shipper": 27,
    "solo": 28,
}


@dataclass(frozen=True)
class Ports:
    """The ports of one stack; all are on 127.0.0.1."""

    base: int

    def __getitem__(self, name: str) -> int:
        return self.base + OFFSETS[name]


def is_free(port: int) -> bool:
    """Whether nothing listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def recorded(directory: Path) -> Ports | None:
    """The ports that the stack in this directory used last."""
    try:
        return Ports(base=int(json.loads((directory / "ports.json").read_text())["base"]))
    except FileNotFoundError:
        return None


def claim(directory: Path, base: int, *, anew: bool = True) -> Ports:
    """Choose the first base from `base` on whose ports are free and not another stack's, and record it.

    Unless `anew`, what another process has recorded meanwhile is the answer: it may have started engines there.

    A claim is a file per base that names the stack's directory, because a stack that is down, or still starting,
    listens on nothing yet. A claim whose stack has moved or is gone counts for nothing.
    """
    claims = places.cache() / "ports"
    claims.mkdir(parents=True, exist_ok=True)
    with _locked(claims / ".lock"):
        if not anew and (known := recorded(directory)) is not None:
            return known
        for candidate in range(base, base + BASES_TRIED_MAX * BASE_STEP, BASE_STEP):
            if _claimed_by_other(claims / str(candidate), directory, candidate):
                continue
            if all(is_free(candidate + offset) for offset in OFFSETS.values()):
                (claims / str(candidate)).write_text(str(directory))
                draft = directory / "ports.json.part"
                draft.write_text(json.dumps({"base": candidate}) + "\n")
                draft.replace(directory / "ports.json")  # whole or not at all: others read it without the lock
                return Ports(candidate)
    raise StackError(f"no {BASE_STEP} free ports between {base} and {base + BASES_TRIED_MAX * BASE_STEP}")


def _claimed_by_other(claim_file: Path, directory: Path, base: int) -> bool:
    try:
        owner = Path(claim_file.read_text())
    except FileNotFoundError:
        return False
    return owner != directory and recorded(owner) == Ports(base)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
