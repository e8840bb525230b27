"""One local stack: start its parts in the right order and wait until they are healthy, stop them, say how they are."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Literal

from deploy.local import edge, places, ports, processes, services
from deploy.local.credentials import Credentials, load_or_make, of_settings
from deploy.local.engines import ENGINE_PARTS
from deploy.local.env_file import ENV_FILE, PREFIX, read_env_file
from deploy.local.errors import PartFailed, PortsTaken, StackError
from deploy.local.listen import Address, Listen, check_free
from deploy.local.parts import PROFILES, Launch, Place, ProfileName, Recordings
from deploy.local.ports import Ports

Say = Callable[[str], None]

PARTS = {part.name: part for part in (*ENGINE_PARTS, *services.SERVICE_PARTS)}
PROBE_INTERVAL_SECONDS = 0.05
LOG_BYTES_MAX = 50_000_000
LOG_LINES_SHOWN = 20
OPEN_FILES_MAX = 65_536
PORT_USES = {"edge": "HTTP", "rtmp": "RTMP"}


@dataclass(frozen=True)
class PartStatus:
    """How one part is right now; `reason` says why an unhealthy one is."""

    name: str
    state: Literal["running", "unhealthy", "stopped"]
    pid: int | None
    addresses: tuple[Address, ...]
    reason: str = ""


class Stack:
    """The engines and services that live in one directory: those of the profile.

    Everything survives `down` and `up`: data, secrets, ports. Processes are found again by their records, so any
    process may start the stack and any other may stop it.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        profile: ProfileName = "full",
        port_base: int | None = None,
        listen: Listen | None = None,
        recordings: Recordings | None = None,
        durable: bool = True,
    ) -> None:
        self.directory = (directory or places.stack_directory(profile)).resolve()
        self.profile = PROFILES[profile]
        self._port_base = port_base or ports.BASE
        self._listen = listen
        self._recordings = recordings
        self._durable = durable
        for path in (self.directory, self.directory / "run", self.directory / "log"):
            path.mkdir(parents=True, exist_ok=True)

    # --- what a user of the stack needs to know -----------------------------------------------------------------------

    @property
    def engines(self) -> tuple[str, ...]:
        """The profile's engines."""
        return self.profile.engines

    @property
    def services(self) -> tuple[str, ...]:
        """The profile's processes of ours."""
        return self.profile.services

    @property
    def parts(self) -> tuple[str, ...]:
        """Both, engines first."""
        return self.profile.parts

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """The HTTP origin of every chat gateway, not through the edge."""
        return tuple(self._place.url(part) for part in self.profile.gateways)

    @property
    def ports(self) -> Ports:
        """The ports in use, or those that will be; `Listen` may put the edge and RTMP on others."""
        return ports.recorded(self.directory) or ports.claim(self.directory, self._port_base, anew=False)

    def environment(self) -> dict[str, str]:
        """The LIVESTREAM_* settings that every service of this stack gets, secrets included."""
        return services.settings(self._place)

    def pid(self, part: str) -> int:
        """The process id of a running part; raises StackError when it does not run."""
        record = processes.find(self._record(part))
        if record is None:
            raise StackError(f"{part} does not run")
        return record.pid

    def runs(self, part: str) -> bool:
        """Whether a part's process is alive, healthy or not."""
        return processes.find(self._record(part)) is not None

    def status(self) -> list[PartStatus]:
        """How every part is; the probes run side by side."""
        with ThreadPoolExecutor(len(self.parts)) as pool:
            return list(pool.map(self._status, self.parts))

    def log(self, part: str) -> Path:
        """Where a part's output goes."""
        return self.directory / "log" / f"{part}.log"

    # --- start and stop -----------------------------------------------------------------------------------------------

    def up(self, parts: Iterable[str] | None = None, *, say: Say = print) -> None:
        """Start what does not run and wait until all of `parts` (the engines) is healthy: engines, then services.

        A running part whose settings or code have changed since it started is restarted. Raises PartFailed with the
        end of its log when one does not get healthy.
        """
        wanted = self._known(self.engines if parts is None else parts)
        with self._locked():
            self._settle_ports(wanted)
            self._each(self._start, [name for name in self.engines if name in wanted], say)
            if chosen := [name for name in self.services if name in wanted]:
                services.prepare_all(self._place)
                self._each(self._start, chosen, say)

    def down(self, parts: Iterable[str] | None = None, *, say: Say = lambda _: None) -> None:
        """Stop services, then engines: ask, wait, kill."""
        wanted = self._known(self.parts if parts is None else parts)
        with self._locked():
            for group in (self.services, self.engines):
                self._each(self._stop, [name for name in group if name in wanted], say)

    def start(self, part: str) -> None:
        """Start one part and wait until it is healthy; raises PartFailed.

        Unlike `up`, it neither migrates nor creates topics: it brings back what has run before.
        """
        wanted = self._known([part])
        with self._locked():
            self._settle_ports(wanted)
            self._each(self._start, wanted, lambda _: None)

    def stop(self, part: str) -> None:
        """Stop one part in its orderly way, killing it after its grace."""
        self.down([part])

    def kill(self, part: str) -> None:
        """SIGKILL one part and its children at once, as a power cut would."""
        processes.kill(self._record(part))

    # --- how ----------------------------------------------------------------------------------------------------------

    @property
    def _place(self) -> Place:
        return Place(
            self.directory, self.ports, self._credentials, self.profile, self._listen, self._recordings, self._durable
        )

    @cached_property
    def _credentials(self) -> Credentials:
        env_file = self.directory / ENV_FILE
        if env_file.exists():  # a server for real use: its settings are the one source of its secrets
            return of_settings(read_env_file(env_file))
        return load_or_make(self.directory / "secrets.json")

    def _record(self, part: str) -> Path:
        return self.directory / "run" / f"{part}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, whichever process makes it."""
        with (self.directory / "run" / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _settle_ports(self, wanted: Sequence[str]) -> None:
        """Move to free ports while nothing runs; with parts running, a foreign program in the way is an error.

        An address that was asked for does not move: that it is taken is an error in either case. Nor does any other
        port of a stack that listens where it was asked to: the settings of its services name them.
        """
        running = [name for name in self.parts if processes.find(self._record(name))]
        current = ports.recorded(self.directory)
        if current is None or not (running or self._listen):
            current = ports.claim(self.directory, current.base if current else self._port_base)
        public = self._listen.addresses if self._listen else {}
        for name in (part for part in wanted if part not in running):
            for port_name in PARTS[name].ports:
                if port_name in public:
                    check_free(name, PORT_USES[port_name], public[port_name])
                elif self._listen:
                    check_free(name, port_name, Address("127.0.0.1", current[port_name]))
                elif not ports.is_free(current[port_name]):
                    raise PortsTaken(name, current[port_name])

    def _each(self, act: Callable[[str, Say], None], names: Sequence[str], say: Say) -> None:
        """Act on all parts side by side; the first failure is raised when all have come to an end."""
        if not names:
            return
        speaking = Lock()

        def say_alone(line: str) -> None:
            with speaking:
                say(line)

        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: act(name, say_alone), names))

    def _start(self, name: str, say: Say) -> None:
        part, began = PARTS[name], time.monotonic()
        place = self._place
        record = processes.find(self._record(name))
        part.prepare(place)
        launch = part.launch(place)
        word = "ready"
        if record is not None and record.fingerprint != launch.fingerprint():
            word = "ready (restarted: its settings or code changed)"
            self._end(name, launch)
            record = None
        if record is None:
            self._spawn(name, launch)
        else:
            word = "runs already"
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGCONT)
        self._wait_healthy(name, launch)
        milliseconds = round((time.monotonic() - began) * 1000)
        say(f"  {name:<16} {word:<13} {shown(self._addresses(name)):<24} {milliseconds:>6} ms")

    def _spawn(self, name: str, launch: Launch) -> None:
        _allow_many_open_files()
        log = self.log(name)
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        processes.start(
            self._record(name),
            launch.argv,
            {**self._inherited(name), **launch.environment},
            directory=launch.directory or self.directory,
            log=log,
            fingerprint=launch.fingerprint(),
        )

    def _inherited(self, name: str) -> dict[str, str]:
        """What a part is told beside its own settings; an engine has no business with those of our services."""
        inherited = services.inherited_environment()
        if name in self.services:
            return inherited
        return {variable: value for variable, value in inherited.items() if not variable.startswith(PREFIX)}

    def _wait_healthy(self, name: str, launch: Launch) -> None:
        deadline = time.monotonic() + launch.ready_seconds_max
        while True:
            reason = launch.probe()
            # Asked after the probe: a foreign program on the same port must not pass for a part that has ended.
            if processes.find(self._record(name)) is None:
                raise PartFailed(name, "ended while starting", self.log(name), self._last_lines(name))
            if reason is None:
                return
            if time.monotonic() > deadline:
                why = f"is not healthy after {launch.ready_seconds_max:g} s: {reason}"
                raise PartFailed(name, why, self.log(name), self._last_lines(name))
            time.sleep(PROBE_INTERVAL_SECONDS)

    def _stop(self, name: str, say: Say) -> None:
        if processes.find(self._record(name)) is None:
            self._record(name).unlink(missing_ok=True)
            return
        began = time.monotonic()
        orderly = self._end(name, PARTS[name].launch(self._place))
        milliseconds = round((time.monotonic() - began) * 1000)
        say(f"  {name:<16} {'stopped' if orderly else 'killed after its grace':<13} {milliseconds:>31} ms")

    def _end(self, name: str, launch: Launch) -> bool:
        return processes.end(
            self._record(name), first_signal=launch.stop_signal, grace_seconds=launch.stop_grace_seconds
        )

    def _status(self, name: str) -> PartStatus:
        addresses = self._addresses(name)
        record = processes.find(self._record(name))
        if record is None:
            return PartStatus(name, "stopped", None, addresses)
        reason = PARTS[name].launch(self._place).probe()
        return PartStatus(name, "unhealthy" if reason else "running", record.pid, addresses, reason or "")

    def _addresses(self, name: str) -> tuple[Address, ...]:
        place = self._place
        if name == "nginx":
            return tuple(edge.listeners(place).values())
        return tuple(place.address(port) for port in PARTS[name].ports)

    def _known(self, parts: Iterable[str]) -> list[str]:
        wanted = list(parts)
        if unknown := sorted(set(wanted) - set(self.parts)):
            names = " ".join(self.parts)
            raise StackError(f"the stack {self.profile.name} has no part {', '.join(unknown)}\nparts: {names}")
        return wanted

    def _last_lines(self, name: str) -> list[str]:
        try:
            with self.log(name).open(errors="replace") as lines:
                return [line.rstrip() for line in deque(lines, LOG_LINES_SHOWN)]
        except FileNotFoundError:
            return []


def shown(addresses: Sequence[Address]) -> str:
    """Addresses for people, with the host said once while it stays the same: 127.0.0.1:17000,17001."""
    text = ""
    for before, address in zip((None, *addresses), addresses, strict=False):
        same_host = before is not None and before.host == address.host
        text += f",{address.port}" if same_host else f"{' ' if text else ''}{address}"
    return text


def _allow_many_open_files() -> None:
    """Raise the soft limit that children inherit: one chat gateway holds thousands of sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
