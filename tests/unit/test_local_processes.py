"""Processes of the local stack: only the very process that was started is signalled, and it always comes to an end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.errors import StackError

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
DEADLINE_SECONDS = 10.0


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "part.json"
    yield path
    processes.kill(path)


def start(record: Path, argv: list[str]) -> int:
    log = record.with_suffix(".log")
    processes.start(record, argv, dict(os.environ), directory=record.parent, log=log, fingerprint="f")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while "up" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    found = processes.find(record)
    assert found is not None
    return found.pid


def test_a_started_process_is_found_and_ended(record: Path) -> None:
    pid = start(record, SLEEPER)
    assert processes.end(record, first_signal=signal.SIGTERM, grace_seconds=DEADLINE_SECONDS)
    assert processes.find(record) is None
    assert not record.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_ignores_the_signal_is_killed_after_its_grace(record: Path) -> None:
    start(record, DEAF)
    assert not processes.end(record, first_signal=signal.SIGTERM, grace_seconds=0.1)
    assert processes.find(record) is None


def test_a_frozen_process_is_ended_in_its_grace(record: Path) -> None:
    os.kill(start(record, SLEEPER), signal.SIGSTOP)
    assert processes.end(record, first_signal=signal.SIGTERM, grace_seconds=DEADLINE_SECONDS)


def test_a_pid_that_another_process_has_now_is_not_ours(record: Path) -> None:
    pid = start(record, SLEEPER)
    genuine = record.read_text()
    record.write_text(json.dumps({"pid": pid, "started_ticks": 1, "fingerprint": ""}))
    assert processes.find(record) is None
    assert processes.end(record, first_signal=signal.SIGTERM, grace_seconds=0.1)
    os.kill(pid, 0)  # untouched
    record.write_text(genuine)


def test_a_kill_takes_the_children_along(record: Path, tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    start(record, ["/bin/sh", "-c", f"sleep 60 & echo $! > {child_file}; echo up; wait"])
    child = Path(f"/proc/{child_file.read_text().strip()}/stat")
    assert child.exists()
    processes.kill(record)
    deadline = time.monotonic() + DEADLINE_SECONDS
    with suppress(FileNotFoundError, ProcessLookupError):  # gone altogether
        while child.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_short_program_that_fails_says_what_it_printed() -> None:
    with pytest.raises(StackError, match=r"exit 3.*\n.*broken"):
        processes.run_to_end("step", ["/bin/sh", "-c", "echo broken; exit 3"])


def test_a_short_program_that_hangs_is_bounded() -> None:
    with pytest.raises(StackError, match="longer than"):
        processes.run_to_end("step", ["sleep", "60"], seconds_max=0.1)
