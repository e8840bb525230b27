"""Checks what a server needs of its machine: room on the disk, memory, open files, a clock that is right."""

import ctypes
import os
import resource
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from console.doctor.finding import Finding, fail, ok, warn
from deploy.local.places import CHECKOUT

MIB, GIB = 1 << 20, 1 << 30

DISK_FREE_BYTES_MIN = 1 * GIB
DISK_FREE_BYTES_ADVISED = 20 * GIB
"""A stream of 5 Mbit/s takes 2.25 GB an hour, and 30 % more with its lower rendition: this is about seven hours."""
INODES_FREE_MIN = 10_000

MEMORY_BYTES_MIN = 512 * MIB
MEMORY_BYTES_ADVISED = 1 * GIB
"""The server itself takes 400 MB at rest, an encoder of a lower rendition up to 300 MB beside it."""

OPEN_FILES_MIN = 1_024
OPEN_FILES_ADVISED = 16_384
"""Every viewer in the chat is two (nginx, and ours), every player up to six at nginx."""

# adjtimex(2): no mode set reads; this answer, or this bit of the status, says that nobody keeps the clock in time.
TIME_ERROR = 5
STA_UNSYNC = 0x0040
TIMEX_BYTES = 256
TIMEX_STATUS_OFFSET = 40
"""Bytes before `status` in struct timex on 64-bit Linux: modes (padded), offset, freq, maxerror, esterror."""


def check_machine(places: Mapping[str, Path]) -> list[Finding]:
    """Everything but the programs; `places` are the directories that grow, by what they hold."""
    return [*check_disks(places), check_memory(), check_open_files(), *check_clock()]


# --- disk -------------------------------------------------------------------------------------------------------------


def check_disks(places: Mapping[str, Path]) -> list[Finding]:
    """Room on every file system that the server writes to, each once."""
    by_device: dict[int, list[str]] = {}
    paths: dict[int, Path] = {}
    for what, path in places.items():
        there = nearest(path)
        device = there.stat().st_dev
        by_device.setdefault(device, []).append(what)
        paths.setdefault(device, there)
    return [check_disk(f"disk ({', '.join(whats)})", paths[device]) for device, whats in by_device.items()]


def check_disk(check: str, path: Path) -> Finding:
    """Room at one place."""
    files = os.statvfs(path)
    inodes = files.f_favail if files.f_files else None  # some file systems count none
    return judge_disk(check, str(path), shutil.disk_usage(path).free, inodes)


def judge_disk(check: str, path: str, free_bytes: int, free_inodes: int | None) -> Finding:
    """Free for us, who are not root; None where a file system has no fixed number of files."""
    seen = f"{free_bytes / GIB:.1f} GiB free at {path}"
    fix = "make room, or set LIVESTREAM_ARCHIVE_DISK_DIRECTORY to a directory on a larger disk"
    if free_bytes < DISK_FREE_BYTES_MIN:
        return fail(check, f"{seen}, at least {DISK_FREE_BYTES_MIN // GIB} GiB are needed", fix)
    if free_inodes is not None and free_inodes < INODES_FREE_MIN:
        return fail(check, f"{free_inodes} more files at {path}, {INODES_FREE_MIN} are needed", "remove small files")
    if free_bytes < DISK_FREE_BYTES_ADVISED:
        return warn(check, f"{seen}, about {free_bytes * 60 // (3 * GIB)} minutes of recordings", fix)
    return ok(check, seen)


def nearest(path: Path) -> Path:
    """The path, or the first directory above it that exists."""
    while not path.exists():
        path = path.parent
    return path


# --- memory and open files --------------------------------------------------------------------------------------------


def check_memory() -> Finding:
    """What the kernel could give to new processes now, without swapping."""
    return judge_memory(psutil.virtual_memory().available)


def judge_memory(available_bytes: int) -> Finding:
    """Too little to start is wrong, too little for an encoder is doubtful."""
    seen = f"{available_bytes // MIB} MiB available"
    fix = "end other programs, or use a machine with more memory"
    if available_bytes < MEMORY_BYTES_MIN:
        return fail("memory", f"{seen}, at least {MEMORY_BYTES_MIN // MIB} MiB are needed", fix)
    if available_bytes < MEMORY_BYTES_ADVISED:
        return warn("memory", f"{seen}, {MEMORY_BYTES_ADVISED // MIB} MiB are advised", fix)
    return ok("memory", seen)


def check_open_files() -> Finding:
    """The hard limit: the server raises its own soft one up to it."""
    return judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def judge_open_files(limit: int) -> Finding:
    """RLIM_INFINITY is a number below zero."""
    fix = "LimitNOFILE=65536 in the systemd unit, or `ulimit -Hn 65536` before the start"
    if limit == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    if limit < OPEN_FILES_MIN:
        return fail("open files", f"at most {limit}, at least {OPEN_FILES_MIN} are needed", fix)
    if limit < OPEN_FILES_ADVISED:
        return warn("open files", f"at most {limit}: enough for about {limit // 8} viewers", fix)
    return ok("open files", f"at most {limit}")


# --- clock ------------------------------------------------------------------------------------------------------------


def check_clock() -> list[Finding]:
    """Is somebody keeping it in time, and can it be right at all? Nothing outside this machine is asked."""
    return [judge_synchronised(kept_in_time()), judge_plausible(time.time(), newest_file_seconds())]


def judge_synchronised(kept: bool | None) -> Finding:
    """Access tokens, recordings and notices carry times; a clock that drifts makes them lie."""
    fix = "apt install systemd-timesyncd && timedatectl set-ntp true"
    if kept is None:
        return warn("clock kept in time", "the kernel does not say", fix)
    if not kept:
        return warn("clock kept in time", "nobody does", fix)
    return ok("clock kept in time", "the kernel says so")


def judge_plausible(now_seconds: float, newest_seconds: float) -> Finding:
    """Our own files were made before now; seconds since 1970."""
    behind = newest_seconds - now_seconds
    if behind > 0:
        return fail(
            "clock", f"{behind:.0f} s before this program's own files were made", "timedatectl set-ntp true, or date -s"
        )
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now_seconds)))


def newest_file_seconds(directories: Iterable[Path] = (CHECKOUT / "runtime", CHECKOUT / "console")) -> float:
    """When the youngest of our source files was written."""
    return max(path.stat().st_mtime for directory in directories for path in directory.glob("*.py"))


def kept_in_time() -> bool | None:
    """Whether the kernel thinks that its clock is synchronised (adjtimex(2), which works without timedatectl)."""
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except AttributeError:  # not glibc on Linux
        return None
    timex = ctypes.create_string_buffer(TIMEX_BYTES)
    state = int(call(timex))
    if state < 0:
        return None
    status = int.from_bytes(timex.raw[TIMEX_STATUS_OFFSET : TIMEX_STATUS_OFFSET + 4], "little")
    return state != TIME_ERROR and not status & STA_UNSYNC
