"""Which core a process runs on, and how much of it it has used."""

import os
from pathlib import Path

import psutil


def cores() -> int:
    """How many this machine has."""
    return os.cpu_count() or 1


def pin(pid: int, core: int) -> None:
    """Have all threads of a process run on one core; counted round where there are fewer."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core % cores()})


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used so far, without its children."""
    used = process.cpu_times()
    return used.user + used.system
