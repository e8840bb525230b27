"""Runs a child process so that it cannot run away: drained, bounded in every direction, and always reaped.

The child gets an argument list (never a shell), no standard input, an empty environment, a session of its own, and
limits on time, silence, CPU, memory, file size, open files and processes, and no way to more rights than it has; where
the kernel allows it, no network. It is asked to stop by SIGTERM and, since a stopped or stuck child ignores that,
killed after a grace period.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from archive.errors import ProcessFailed, ProcessOutputTooLarge, ProcessTimedOut

log = structlog.get_logger(__name__)

READ_BYTES = 65_536
STDERR_TAIL_BYTES_MAX = 4_096
STDERR_TAIL_LINES_MAX = 12
KILLED_SECONDS_MAX = 2.0

# FFmpeg names who speaks as "[h264 @ 0x55d20e302c40]".
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")

# What the child may know of us: where programs are. Our environment holds secrets.
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

# Where the kernel groups tasks by session (sched_autogroup_enabled, Debian's default), `nice` counts among the child's
# own tasks alone: four encoders on two cores leave us a third of one, with it as without it. What holds between
# sessions is the group's own value, in this file (sched(7), "The autogroup feature").
_AUTOGROUP = "/proc/{pid}/autogroup"
# The kernel takes such a change ten times a second from all of us who are not root, and says "again" to the rest.
_AUTOGROUP_RETRY_SECONDS = 0.2

# A user namespace of its own (-U, mapped to our user by -r) with a network namespace that has no interface up (-n).
_WITHOUT_NETWORK = ("unshare", "--user", "--map-root-user", "--net")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may take. ``silence_seconds`` counts from its last byte on stdout or stderr."""

    time_seconds: float
    silence_seconds: float
    stop_grace_seconds: float
    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    stdout_bytes_max: int = 1 << 20
    nice: int = 10
    open_files: int = 256
    # Threads count as well. The kernel counts them for nobody who is root, and here only without the network.
    tasks: int = 256


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that did its work."""

    stdout: bytes
    stderr_tail: str
    seconds: float


def confined(argv: Sequence[str], limits: Limits, *, without_network: bool) -> list[str]:
    """The argument list with its limits in front; each program here becomes the next, so the process id stays one."""
    return [
        # If we are killed the child goes with us: another worker takes the job, and two encoders would be one too many.
        # Programs that would run as somebody else (setuid) do not.
        *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--"),
        # Live work on the same machine goes first.
        *("nice", "-n", str(limits.nice)),  # and see _AUTOGROUP
        "prlimit",
        f"--as={limits.memory_bytes}",
        f"--fsize={limits.file_bytes}",
        f"--cpu={limits.cpu_seconds}",
        # A crash of a decoder must not fill the disk.
        "--core=0",
        f"--nofile={limits.open_files}",
        "--",
        # Tasks are counted for the user: only in a namespace of its own are all of them the child's.
        *((*_WITHOUT_NETWORK, "prlimit", f"--nproc={limits.tasks}", "--") if without_network else ()),
        *argv,
    ]


class ProcessRunner:
    """Starts children under limits; ``without_network`` is decided once, by :func:`network_can_be_dropped`."""

    def __init__(self, *, without_network: bool) -> None:
        self.without_network = without_network

    async def run(
        self, argv: Sequence[str], limits: Limits, *, on_output: Callable[[bytes], None] | None = None
    ) -> Finished:
        """Run ``argv`` to its end; stdout is returned, or handed to ``on_output`` piece by piece.

        Raises ProcessFailed, ProcessTimedOut, ProcessOutputTooLarge. A cancelled caller leaves no child behind.
        """
        process = await asyncio.create_subprocess_exec(
            *confined(argv, limits, without_network=self.without_network),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ},
            start_new_session=True,
        )
        return await _Child(argv, process, limits, on_output).finish()


_TRUE_LIMITS = Limits(
    time_seconds=10.0,
    silence_seconds=10.0,
    stop_grace_seconds=1.0,
    cpu_seconds=10,
    memory_bytes=1 << 30,
    file_bytes=0,
)


async def network_can_be_dropped() -> bool:
    """Whether this machine lets us start a child without a network (unprivileged user namespaces)."""
    try:
        await ProcessRunner(without_network=True).run(["true"], _TRUE_LIMITS)
    except ProcessFailed as failed:
        log.warning("children_keep_the_network", reason=str(failed))
        return False
    return True


class _Child:
    def __init__(
        self,
        argv: Sequence[str],
        process: asyncio.subprocess.Process,
        limits: Limits,
        on_output: Callable[[bytes], None] | None,
    ) -> None:
        self._program = argv[0]
        self._paths = [argument for argument in argv[1:] if argument.startswith("/")]
        self._process = process
        self._limits = limits
        self._on_output = on_output
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._too_large = False
        self._heard_at = time.monotonic()

    async def finish(self) -> Finished:
        started = time.monotonic()
        stopped_because: str | None = None
        try:
            # The pipes are drained until they close, or else a child that writes much would wait for us forever.
            async with asyncio.TaskGroup() as drains:
                drains.create_task(self._drain_stdout())
                drains.create_task(self._drain_stderr())
                standing_back = drains.create_task(self._stand_back())
                stopped_because = await self._wait()
                standing_back.cancel()
                if stopped_because is not None:
                    await self._stop()
        finally:
            await self._kill()
        return self._judge(stopped_because, time.monotonic() - started)

    def _judge(self, stopped_because: str | None, seconds: float) -> Finished:
        tail = _last_lines(bytes(self._stderr), self._paths)
        if self._too_large:
            raise ProcessOutputTooLarge(
                self._program, f"wrote more than {self._limits.stdout_bytes_max} bytes to stdout", tail
            )
        if stopped_because is not None:
            raise ProcessTimedOut(self._program, stopped_because, tail)
        exit_code = self._process.returncode
        if exit_code != 0:
            raise ProcessFailed(
                self._program, -1 if exit_code is None else exit_code, tail, self._limit_passed(exit_code)
            )
        return Finished(bytes(self._stdout), tail, seconds)

    def _limit_passed(self, exit_code: int | None) -> str | None:
        """What the kernel ended it for, as far as the signal tells."""
        limits = self._limits
        if exit_code == -signal.SIGXFSZ:
            return f"wrote a file of more than {limits.file_bytes} bytes"
        if exit_code == -signal.SIGKILL:
            return f"was killed: it took more than {limits.cpu_seconds} s of CPU, or the machine's memory ran out"
        return None

    async def _stand_back(self) -> None:
        """Make the child's session as nice as the child; where the kernel has no such thing, `nice` is enough."""
        pid = self._process.pid
        while self._process.returncode is None and _has_own_session(pid):
            try:
                Path(_AUTOGROUP.format(pid=pid)).write_text(str(self._limits.nice))  # noqa: ASYNC240  no disk behind it
            except BlockingIOError:
                await asyncio.sleep(_AUTOGROUP_RETRY_SECONDS)
            except OSError:
                return
            else:
                return

    async def _wait(self) -> str | None:
        """Wait for the end within the limits; the answer is the limit that was passed, or None."""
        deadline = time.monotonic() + self._limits.time_seconds
        while True:
            now = time.monotonic()
            silent_at = self._heard_at + self._limits.silence_seconds
            if now >= deadline:
                return f"took longer than {self._limits.time_seconds:g} s"
            if now >= silent_at:
                return f"was silent for {self._limits.silence_seconds:g} s"
            with suppress(TimeoutError):
                async with asyncio.timeout(min(deadline, silent_at) - now):
                    await self._process.wait()
                    return None

    async def _stop(self) -> None:
        """TERM, a grace period, KILL; the whole session is meant, since a child may have children."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_grace_seconds):
                await self._process.wait()
        self._signal(signal.SIGKILL)
        await self._process.wait()

    async def _kill(self) -> None:
        # Reached with a living child only when our caller was cancelled: no time for manners, but its pipes must close.
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            await asyncio.wait({asyncio.ensure_future(self._process.communicate())}, timeout=KILLED_SECONDS_MAX)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _drain_stdout(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  asked for at creation; tells the type checker
        while piece := await self._process.stdout.read(READ_BYTES):
            self._heard_at = time.monotonic()
            if self._on_output is not None:
                self._on_output(piece)
            elif len(self._stdout) + len(piece) <= self._limits.stdout_bytes_max:
                self._stdout += piece
            elif not self._too_large:
                self._too_large = True
                self._signal(signal.SIGKILL)

    async def _drain_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  asked for at creation; tells the type checker
        while piece := await self._process.stderr.read(READ_BYTES):
            self._heard_at = time.monotonic()
            self._stderr += piece
            del self._stderr[:-STDERR_TAIL_BYTES_MAX]


def _has_own_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _last_lines(stderr: bytes, paths: Sequence[str]) -> str:
    """What people may read of it: no directories of ours, no addresses of memory."""
    text = _ADDRESS.sub("", stderr.decode("utf-8", "replace"))
    for path in paths:
        text = text.replace(path, Path(path).name)
    lines = [line.strip() for line in text.splitlines()]
    return " | ".join([line for line in lines if line][-STDERR_TAIL_LINES_MAX:])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far ffmpeg says it is; ``None`` where it has not said yet."""

    frames: int | None = None
    time_ms: int | None = None


class ProgressReader:
    """Turns what ffmpeg's ``-progress`` writes, in pieces of any size, into the latest :class:`Progress`."""

    def __init__(self) -> None:
        self.latest = Progress()
        self._unfinished = b""

    def __call__(self, piece: bytes) -> None:
        """Take the next piece."""
        *lines, self._unfinished = (self._unfinished + piece).split(b"\n")
        # A line of ffmpeg's is short; whatever is longer is not one.
        self._unfinished = self._unfinished[-READ_BYTES:]
        for line in lines:
            name, _, text = line.partition(b"=")
            number = text.strip()
            if name == b"frame" and number.isdigit():
                self.latest = Progress(int(number), self.latest.time_ms)
            # "out_time_us" is in microseconds; it is N/A until the first packet.
            elif name == b"out_time_us" and number.isdigit():
                self.latest = Progress(self.latest.frames, int(number) // 1000)
