"""The only entry of a process: settings, logging, event loop, signals, then serve; the exit code says how it ended.

0: asked to stop, and did (or the work was done). 1: failed. 2: stopping, asked or after a failure, and stuck for the
whole grace.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
import uvloop

from runtime.logs import configure_logging
from runtime.service import CannotServe
from runtime.settings import S, SettingsInvalid, load_settings
from runtime.supervise import ServiceFailed, ServicesStuck

log = structlog.get_logger(__name__)

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_STUCK = 2

# The supervisor gives services the whole grace; what is left over closes pools before the hard exit.
CLOSING_SECONDS = 1.0

# The youngest generation of the cyclic collector. With Python's own 700, a busy gateway looks for cycles hundreds of
# times a second and finds next to none, which took 4 % of its CPU; so many small objects more are a few hundred KB.
COLLECTED_OBJECTS_MIN = 10_000


def run_process(name: str, settings_type: type[S], serve: Callable[[S], Awaitable[None]]) -> NoReturn:
    """Be the process `name`: run `serve(settings)` until it ends or SIGTERM/SIGINT comes, then exit with 0, 1 or 2.

    Wrong settings are told on standard error, one line per variable, before anything is opened.
    """
    # Hard: threads that somebody has left running, or exit handlers of libraries, must not hold up the end.
    _exit(run_to_exit_code(name, settings_type, serve))


def run_to_exit_code(name: str, settings_type: type[S], serve: Callable[[S], Awaitable[None]]) -> int:
    """As `run_process`, for a caller that has something to do afterwards: the answer is the exit code.

    Only when the event loop itself is stuck beyond the grace does the process end in here, with 2.
    """
    try:
        settings = load_settings(settings_type)
    except SettingsInvalid as invalid:
        sys.stderr.write("".join(f"{name}: {line}\n" for line in invalid.lines))
        return EXIT_FAILED
    configure_logging(service=name, level=settings.log_level, log_format=settings.log_format)
    _raise_open_files()
    _calm_garbage_collection()
    stopper = _Stopper(name, settings.stop_grace_seconds + CLOSING_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_served(name, settings, serve, stopper))
        stopper.arm()  # closing the runner waits without limit for tasks that swallow cancellation
    stopper.disarm()
    return code


def _raise_open_files() -> None:
    """Every client takes a descriptor: as many as the system allows, where shells start processes with 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_garbage_collection() -> None:
    """Leave what was imported, which stays for ever, out of every search for cycles, and search less often."""
    gc.freeze()
    gc.set_threshold(COLLECTED_OBJECTS_MIN, *gc.get_threshold()[1:])


async def _served(name: str, settings: S, serve: Callable[[S], Awaitable[None]], stopper: "_Stopper") -> int:
    task = asyncio.ensure_future(_awaited(serve, settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopper.on_signal, number, task)
    log.info("process_started", process=name, pid=os.getpid())
    await asyncio.wait([task])
    code = _outcome(task, asked=stopper.asked)
    if code == EXIT_STUCK:
        stopper.exit_stuck()
    log.info("process_stopped", process=name, exit_code=code)
    return code


async def _awaited(serve: Callable[[S], Awaitable[None]], settings: S) -> None:
    await serve(settings)


def _outcome(task: "asyncio.Task[None]", *, asked: bool) -> int:
    if task.cancelled():
        return EXIT_STOPPED if asked else EXIT_FAILED
    error = task.exception()
    if error is None:
        return EXIT_STOPPED
    if isinstance(error, ServicesStuck):
        log.error("services_stuck", services=error.services, stop_grace_seconds=error.stop_grace_seconds)
        return EXIT_STUCK
    refused = error.__cause__ if isinstance(error, ServiceFailed) else error
    if isinstance(refused, CannotServe):
        log.error("process_refused", reason=str(refused))
        return EXIT_FAILED
    if isinstance(error, ServiceFailed):
        log.error(
            "service_failed", failed_service=error.service, reason=error.reason, exc_info=error.__cause__ or error
        )
        return EXIT_FAILED
    log.error("process_failed", reason=f"{type(error).__name__}: {error}", exc_info=error)
    return EXIT_FAILED


class _Stopper:
    """Cancels the work on a signal, and ends the process hard when it has not ended in time."""

    def __init__(self, name: str, limit_seconds: float) -> None:
        self._name = name
        self._limit_seconds = limit_seconds
        # A thread, since the loop itself may be what is stuck.
        self._timer: threading.Timer | None = None
        self.asked = False

    def on_signal(self, number: signal.Signals, task: "asyncio.Task[None]") -> None:
        if self.asked:
            log.warning("process_killed_by_second_signal", process=self._name, signal=number.name)
            self.exit_stuck()
        self.asked = True
        log.info("process_stopping", process=self._name, signal=number.name)
        self.arm()
        task.cancel()

    def arm(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._limit_seconds, self._expired)
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expired(self) -> None:
        log.error("process_stuck", process=self._name, waited_seconds=self._limit_seconds)
        self.exit_stuck()

    def exit_stuck(self) -> NoReturn:
        _exit(EXIT_STUCK)


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
