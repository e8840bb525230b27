"""What a part of the local stack is, and which parts the profiles have."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deploy.local.credentials import Credentials
from deploy.local.listen import Address, Listen
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

ProfileName = Literal["solo", "full"]
S3_BUCKET = "recordings"


@dataclass(frozen=True)
class DiskRecordings:
    """Recordings are files below a directory."""

    directory: Path


@dataclass(frozen=True)
class S3Recordings:
    """Recordings are objects of a bucket that anybody may read by key."""

    endpoint_url: str
    bucket: str


Recordings = DiskRecordings | S3Recordings


@dataclass(frozen=True)
class Profile:
    """Which parts make one whole stack, and which of them answer for what."""

    name: ProfileName
    engines: tuple[str, ...]
    services: tuple[str, ...]
    recordings: Literal["disk", "s3"]
    # The part whose HTTP port each API is on, by the API's service.
    apis: Mapping[str, str]
    gateways: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Engines, then services."""
        return self.engines + self.services


API_SERVICES = ("accounts", "streaming", "notify", "archive")

PROFILES: Mapping[ProfileName, Profile] = {
    # Postgres carries the events as well, recordings are files, and one process of ours does everything.
    "solo": Profile(
        "solo",
        engines=("postgres", "redis", "nginx"),
        services=("solo",),
        recordings="disk",
        apis=dict.fromkeys(API_SERVICES, "solo"),
        gateways=("solo",),
    ),
    "full": Profile(
        "full",
        engines=ENGINES,
        services=SERVICES,
        recordings="s3",
        apis={service: service for service in API_SERVICES},
        gateways=("chat-1", "chat-2"),
    ),
}


@dataclass(frozen=True)
class Place:
    """Where one stack lives and what its parts need to know of each other."""

    directory: Path
    ports: Ports
    credentials: Credentials
    profile: Profile
    listen: Listen | None = None
    # Where a server's settings say that they are; else where the profile keeps them.
    kept_recordings: Recordings | None = None
    durable: bool = True
    """Whether what is committed is to survive the machine, and not only the process."""

    @property
    def recordings(self) -> Recordings:
        """Where the edge gets recordings from."""
        if self.kept_recordings is not None:
            return self.kept_recordings
        if self.profile.recordings == "disk":
            return DiskRecordings(self.recordings_directory)
        return S3Recordings(self.url("minio"), S3_BUCKET)

    def state(self, part: str) -> Path:
        """The directory of a part's own files."""
        return self._made(part)

    @property
    def hls_directory(self) -> Path:
        """Where nginx-rtmp writes and the shipper reads."""
        return self._made("hls")

    @property
    def recordings_directory(self) -> Path:
        """Where recordings are kept and served from, when they are files."""
        return self._made("recordings")

    @property
    def emotes_directory(self) -> Path:
        """Where images of emotes are kept, when they are files."""
        return self._made("emotes")

    @property
    def work_directory(self) -> Path:
        """Where pieces of media lie while they are worked on."""
        return self._made("archive-work")

    def address(self, port: str) -> Address:
        """Where the listener of this name is, for other parts on this machine."""
        if self.listen and port in self.listen.addresses:
            return self.listen.addresses[port].near
        return Address("127.0.0.1", self.ports[port])

    def url(self, port: str) -> str:
        """The http origin of a listener."""
        return f"http://{self.address(port)}"

    def api_url(self, service: str) -> str:
        """The http origin of a service's API, whichever process it is in."""
        return self.url(self.profile.apis[service])

    def _made(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path


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
