"""What a part of the local stack is, and the names of all of them."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.credentials import Credentials
from deploy.local.ports import Ports

ENGINES = ("postgres", "redis", "kafka", "minio", "nginx")
SERVICES = (
    "accounts",
    "streaming",
    "notify",
    "chat-1",
    "chat-2",
    "archive",
    "archive-worker",
    "archive-shipper",
)
ALL = ENGINES + SERVICES


@dataclass(frozen=True)
class Place:
    """Where one stack lives and what its parts need to know of each other."""

    directory: Path
    ports: Ports
    credentials: Credentials

    def state(self, part: str) -> Path:
        """The directory of a part's own files."""
        path = self.directory / part
        path.mkdir(exist_ok=True)
        return path

    @property
    def hls_directory(self) -> Path:
        """Where nginx-rtmp writes and the shipper reads."""
        path = self.directory / "hls"
        path.mkdir(exist_ok=True)
        return path

    def url(self, part: str) -> str:
        """The http origin of a part."""
        return f"http://127.0.0.1:{self.ports[part]}"


@dataclass(frozen=True)
class Launch:
    """How to run one part now: its command line and what surrounds it."""

    argv: Sequence[str]
    probe: Callable[[], str | None]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_seconds: float = 10.0
    ready_seconds_max: float = 60.0
    # What else the process depends on: the text of its configuration file, a digest of its code.
    version: str = ""

    def fingerprint(self) -> str:
        """A digest that changes when a running process is no longer what would be started now."""
        text = json.dumps([list(self.argv), sorted(self.environment.items()), self.version])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """One process of the stack.

    `prepare` makes what must exist before the first start (idempotent); `launch` says how to run it and must have no
    effect, because it is also asked for the probe of a part that runs already.
    """

    name: str
    ports: Sequence[str]
    prepare: Callable[[Place], None]
    launch: Callable[[Place], Launch]
