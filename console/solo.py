"""``livestream solo``: be a whole server in the foreground: its engines, and every service in this one process."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import structlog
import typer

from console.doctor.programs import check_programs
from console.endings import fail
from console.engine_watch import EngineWatch
from console.installation import DirectoryOption, EnvFileInvalid, InUse, directory_of, env_file_of, held, load_env_file
from console.server import ServerSettings, misfits, own_engines, stack_of
from deploy.local.errors import StackError
from deploy.local.listen import Address, check_free
from deploy.local.stack import Stack
from runtime.logs import configure_logging
from runtime.process import run_to_exit_code
from runtime.settings import SettingsInvalid, load_settings
from solo.__main__ import serve

log = structlog.get_logger(__name__)
app = typer.Typer()

START_FREE_BYTES_MIN = 128 << 20
"""With less, Postgres could not even begin; recordings stop long before (archive_disk_reserve_bytes)."""


class CannotStart(Exception):
    """Something that a person must mend before the server can start. `lines` has one line per thing, with its fix."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class StopAsked(Exception):
    """SIGTERM or SIGINT came while the engines were being started."""


@app.command()
def solo(directory: DirectoryOption = None) -> None:
    """Run the server of a directory until SIGTERM or Ctrl-C: Postgres, Redis and nginx as children, all services here.

    The settings are DIR/livestream.env (`livestream init` writes it); variables of the environment win. An engine that
    dies is started again; one whose address in the settings is not the directory's own is used where it is.
    Logs: this process on standard output, the engines in DIR/log. A second server on the same directory is refused.

    Exit 0: asked to stop, and all is stopped; 1: could not start, or failed, and said why;
    2: used wrongly, or stuck while stopping.

    Examples:

        livestream solo

        livestream solo --directory /srv/livestream
    """
    place = directory_of(directory)
    try:
        overridden = load_env_file(env_file_of(place))
        _speak_to_people()
        settings = load_settings(ServerSettings)
        with held(place):
            code = run_server(place, settings, overridden)
    except (EnvFileInvalid, SettingsInvalid, CannotStart) as wrong:
        raise fail([f"solo: {line}" for line in wrong.lines]) from None
    except (InUse, StackError) as error:
        raise fail(f"solo: {error}") from None
    except StopAsked:
        code = 0
    raise typer.Exit(code)


def run_server(directory: Path, settings: ServerSettings, overridden: list[str]) -> int:
    """Start the engines, serve until asked to stop, stop the engines; the answer is the exit code of the serving.

    Raises CannotStart, StackError and StopAsked, each with the engines stopped again.
    """
    configure_logging(service="solo", level=settings.log_level, log_format=settings.log_format)
    stack = stack_of(directory, settings)
    if wrong := misfits(stack, settings):
        raise CannotStart(wrong)
    engines = own_engines(stack, settings)
    check_room(directory)
    check_parts(engines)
    try:
        with _signals_raise():
            log.info("server_starting", directory=str(directory), engines=engines, from_environment=overridden)
            check_free("solo", "the services", Address(settings.http_host, settings.http_port))
            stack.up(engines, say=lambda text: log.info("engine_ready", text=" ".join(text.split())))
        log.info("server_addresses", public_url=settings.public_url, ingest_url=settings.streaming_public_ingest_url)
        return run_to_exit_code("solo", ServerSettings, partial(serve, extra=[EngineWatch(stack, engines)]))
    finally:
        _stop(stack, engines)


def check_room(directory: Path) -> None:
    """Raise CannotStart unless the disk has room for a database to begin."""
    free = shutil.disk_usage(directory).free
    if free < START_FREE_BYTES_MIN:
        needed, seen = START_FREE_BYTES_MIN >> 20, free >> 20
        raise CannotStart([f"{directory}: {seen} MiB are free and {needed} are needed; make room on that disk"])


def check_parts(engines: tuple[str, ...]) -> None:
    """Raise CannotStart with a line for every program that is missing or too old."""
    if wrong := [finding.line for finding in check_programs(engines=engines) if finding.level == "fail"]:
        raise CannotStart(wrong)


def _stop(stack: Stack, engines: tuple[str, ...]) -> None:
    """Publishers and viewers first, the database last; a further signal changes nothing: each wait is bounded."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for engine in ("nginx", "redis", "postgres"):
        if engine in engines:
            stack.down([engine], say=lambda text: log.info("engine_stopped", text=" ".join(text.split())))


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGINT raise StopAsked, so that what was started is stopped; afterwards the event loop has them."""

    def raise_it(_number: int, _frame: FrameType | None) -> None:
        raise StopAsked

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, raise_it)
    yield


def _speak_to_people() -> None:
    """Text for people where a person looks on, unless the settings say otherwise."""
    if sys.stdout.isatty():
        os.environ.setdefault("LIVESTREAM_LOG_FORMAT", "console")
