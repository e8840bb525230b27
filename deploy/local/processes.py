"""Start, find and end the stack's processes: one record file per part, checked against the kernel before any signal."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.errors import StackError

POLL_SECONDS = 0.02

# Children of this process, kept so that one that ended can be reaped instead of looking alive as a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _leave_children_running() -> None:
    """Parts outlive who started them: without a return code Popen would complain of them when this process ends."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


@dataclass(frozen=True)
class Record:
    """What is remembered of a started process; pid and start time together are never used twice."""

    pid: int
    started_ticks: int
    fingerprint: str = ""


def _started_ticks(pid: int) -> int | None:
    """The start time of a live process in clock ticks since boot (proc(5), stat field 22); None when it is no more."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name may contain spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def find(record_file: Path) -> Record | None:
    """The record of a process while it is still that very process."""
    try:
        record = Record(**json.loads(record_file.read_text()))
    except FileNotFoundError:
        return None
    return record if _started_ticks(record.pid) == record.started_ticks else None


def processes_in(directory: Path) -> set[int]:
    """Ids of live processes whose working directory is this one, as far as we may see; a zombie has none."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == directory.resolve():
                found.add(int(process.name))
    return found


def start(
    record_file: Path,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    directory: Path,
    log: Path,
    fingerprint: str,
) -> None:
    """Start a process in a session of its own, its output appended to `log`, and record it."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    record = Record(child.pid, _started_ticks(child.pid) or 0, fingerprint)
    part = record_file.with_suffix(".part")
    part.write_text(json.dumps(asdict(record)))
    part.replace(record_file)


def run_to_end(
    what: str, argv: Sequence[str], environment: Mapping[str, str] | None = None, *, seconds_max: float = 120
) -> None:
    """Run a short program from a directory that everyone may enter; raises StackError with its output when it fails."""
    try:
        done = subprocess.run(
            argv,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds_max,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what} took longer than {seconds_max:g} s") from error
    if done.returncode:
        raise StackError(f"{what} failed (exit {done.returncode})\n{done.stdout.strip()}")


def end(record_file: Path, *, first_signal: signal.Signals, grace_seconds: float) -> bool:
    """Ask a recorded process to end, wait, then kill it and what it started. True when it ended by itself.

    A process that is stopped (SIGSTOP) handles no signal, so it is continued first.
    """
    record = find(record_file)
    if record is None:
        record_file.unlink(missing_ok=True)
        return True
    with suppress(ProcessLookupError):
        os.kill(record.pid, first_signal)
        os.kill(record.pid, signal.SIGCONT)
    gone = _wait_gone(record_file, grace_seconds)
    if not gone:
        kill(record_file)
    record_file.unlink(missing_ok=True)
    return gone


def kill(record_file: Path, *, wait_seconds: float = 10) -> None:
    """SIGKILL a recorded process together with everything it started, as a machine's death would."""
    record = find(record_file)
    if record is None:
        return
    with suppress(ProcessLookupError):
        os.killpg(record.pid, signal.SIGKILL)
    if not _wait_gone(record_file, wait_seconds):
        raise StackError(f"process {record.pid} is still there {wait_seconds:g} s after SIGKILL")


def _wait_gone(record_file: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while find(record_file) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
