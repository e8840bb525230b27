"""Our processes as an operator meets them: started in any order, asked to stop, given wrong settings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import Stack
from deploy.local.parts import ENGINES, SERVICES
from deploy.local.places import CHECKOUT
from deploy.local.probes import http_ok
from deploy.local.services import COMMANDS
from tests.conftest import StackMaker

pytestmark = pytest.mark.timeout(240)

WAITS_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
"""Whoever took longer than its grace says so by its exit code; the rest is the machine's."""


@dataclass(frozen=True)
class Process:
    """One of our services, run from here, with its log."""

    name: str
    port: int
    child: subprocess.Popen[bytes]
    log: Path

    def said(self, event: str) -> bool:
        """Whether a log line with this event (or one that begins so) was written."""
        return any(line["event"].startswith(event) for line in self.lines())

    def lines(self) -> list[dict[str, str]]:
        """Everything logged so far; each line must be JSON."""
        whole = self.log.read_text(errors="replace").rpartition("\n")[0]  # the last may be there in part
        return [json.loads(line) for line in whole.splitlines()]


@pytest.fixture
def processes(own_stack: StackMaker, tmp_path: Path) -> Iterator[tuple[Stack, list[Process]]]:
    """Every service, started before any engine is."""
    stack = own_stack()
    with ExitStack() as exits:
        yield stack, [exits.enter_context(_started(name, stack, tmp_path)) for name in SERVICES]


def test_services_started_first_wait_for_the_rest_and_stop_within_10_s(
    processes: tuple[Stack, list[Process]],
) -> None:
    stack, services = processes
    _wait(
        "each service to say what it waits for",
        WAITS_SECONDS_MAX,
        lambda: [p.name for p in services if not p.said("waiting_for_")],
    )
    assert [p.name for p in services if p.child.poll() is not None] == []

    stack.up(ENGINES, say=lambda _: None)
    _wait(
        "each service that has tables to wait for their migration",
        WAITS_SECONDS_MAX,
        lambda: [p.name for p in services if not p.said("waiting_for_migrations")],
    )
    _run(stack, "migrate")
    _run(stack, "topics", "create")
    _wait(
        "each service to be ready", READY_SECONDS_MAX, lambda: [p.name for p in services if http_ok(p.port, "/readyz")]
    )

    began = time.monotonic()
    for process in services:
        process.child.send_signal(signal.SIGTERM)
    codes = {p.name: p.child.wait(STOP_SECONDS_MAX) for p in services}
    assert codes == dict.fromkeys(SERVICES, 0)
    assert time.monotonic() - began < STOP_SECONDS_MAX
    assert [p.name for p in services if not p.said("process_stopped")] == []


@pytest.mark.parametrize("name", ["accounts", "streaming", "notify", "chat-1", "archive", "archive-worker"])
def test_missing_settings_are_named_and_exit_1(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *COMMANDS[name]],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        cwd=CHECKOUT,
    )
    assert done.returncode == 1
    assert "LIVESTREAM_POSTGRES_DSN: missing" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def _started(name: str, stack: Stack, directory: Path) -> Iterator[Process]:
    environment = _environment() | stack.environment() | {"LIVESTREAM_HTTP_PORT": str(stack.ports[name])}
    log = directory / f"{name}.log"
    argv = [sys.executable, "-m", *COMMANDS[name]]
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, stdout=output, stderr=output, env=environment, cwd=CHECKOUT) as child,
    ):
        yield Process(name, stack.ports[name], child, log)
        child.kill()


def _run(stack: Stack, *arguments: str) -> None:
    environment = _environment() | stack.environment()
    subprocess.run([sys.executable, "-m", "console", *arguments], check=True, env=environment, cwd=CHECKOUT, timeout=60)


def _wait(what: str, seconds_max: float, lacking: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + seconds_max
    while left := lacking():
        assert time.monotonic() < deadline, f"waited {seconds_max:g} s for {what}; not yet: {left}"
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
