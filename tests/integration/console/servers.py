"""Servers for tests: `livestream init` and `livestream solo` run as a person would, each in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import places, processes
from deploy.local.env_file import read_env_file
from tests.free_ports import free_port

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
ENGINES = ("postgres", "redis", "nginx")


def until(what: str, true: Callable[[], bool], *, seconds: float = START_SECONDS_MAX) -> None:
    """Wait for a condition; raises TimeoutError with its name."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@dataclass
class Server:
    """One directory, and the `livestream solo` that runs in it."""

    directory: Path
    environment: Mapping[str, str]
    http_port: int = field(default_factory=free_port)
    rtmp_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    before: Sequence[str] = ()
    """What the command line begins with: who runs it."""

    def livestream(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **variables},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS_MAX,
        )

    def command(self, verb: str, *arguments: str) -> Sequence[str]:
        """The argument list of a verb on this directory."""
        return [*self.before, sys.executable, "-m", "console", verb, "--directory", str(self.directory), *arguments]

    def init(self) -> None:
        """Write the settings."""
        listen = ("--http-listen", f"127.0.0.1:{self.http_port}", "--rtmp-listen", f"127.0.0.1:{self.rtmp_port}")
        done = self.livestream("init", *listen)
        assert done.returncode == 0, done.stderr

    @property
    def settings(self) -> dict[str, str]:
        """What `init` wrote."""
        return read_env_file(self.directory / "livestream.env")

    @property
    def log(self) -> list[dict[str, object]]:
        """The lines that the running (or last) server wrote, whole ones."""
        lines = self._output.read_text(errors="replace").rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def said(self, event: str, **facts: object) -> bool:
        """Whether a line of this name and these fields is in the log."""
        return any(line["event"] == event and facts.items() <= line.items() for line in self.log)

    def start(self) -> None:
        """Start it without waiting."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command("solo"), env=self.environment, cwd="/", stdout=output, stderr=subprocess.STDOUT
            )

    def started(self) -> None:
        """Start it and wait until everything is ready."""
        self.start()
        until("the server is ready", lambda: self._ended() or self.is_ready())
        assert not self._ended(), self._output.read_text()

    def is_ready(self) -> bool:
        """Whether the services say so themselves, and the edge leads to them."""
        services = f"http://127.0.0.1:{self.settings['LIVESTREAM_HTTP_PORT']}/readyz"
        return all(_answers(url) for url in (services, f"http://127.0.0.1:{self.http_port}/api/streams"))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the answer is the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX)

    def engine_pids(self) -> dict[str, int]:
        """The engines that run."""
        found = {name: processes.find(self.directory / "run" / f"{name}.json") for name in ENGINES}
        return {name: record.pid for name, record in found.items() if record is not None}

    def clear(self) -> None:
        """Leave nothing running, whatever a test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)
        for name in ENGINES:
            processes.kill(self.directory / "run" / f"{name}.json")

    @property
    def _output(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.log")

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def environment_of_a_person() -> dict[str, str]:
    """No setting of the tests' own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    return {**own, "PYTHONPATH": str(places.CHECKOUT)}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  our own address
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False
