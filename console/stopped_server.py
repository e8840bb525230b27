"""The Postgres of a server that does not run, for verbs that need its database alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from console.endings import fail
from console.installation import EnvFileInvalid, InUse, env_file_of, held, is_held, load_env_file
from console.server import ServerSettings, own_engines, stack_of
from deploy.local.errors import StackError
from runtime.settings import SettingsInvalid, load_settings

POSTGRES = "postgres"

ServerOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help="The server in this directory: take its settings; while it is stopped, start its Postgres for the time.",
    ),
]


@contextmanager
def own_postgres(directory: Path | None, *, server_must_be_stopped: bool) -> Iterator[None]:
    """Put the server's settings into the environment and have its Postgres running; nothing without a directory.

    Says what is wrong and exits 1 when the settings are, or when the server runs although it must not.
    """
    if directory is None:
        yield
        return
    place = directory.resolve()
    try:
        load_env_file(env_file_of(place))
        settings = load_settings(ServerSettings)
        if is_held(place) and not server_must_be_stopped:
            yield
            return
        with held(place), _running(place, settings):
            yield
    except (EnvFileInvalid, SettingsInvalid) as wrong:
        raise fail(wrong.lines) from None
    except InUse as in_use:
        raise fail(f"{in_use}: stop it first") from None
    except StackError as error:
        raise fail(str(error)) from None


@contextmanager
def _running(directory: Path, settings: ServerSettings) -> Iterator[None]:
    stack = stack_of(directory, settings)
    if POSTGRES not in own_engines(stack, settings) or stack.runs(POSTGRES):
        yield
        return
    stack.up([POSTGRES], say=lambda _line: None)
    try:
        yield
    finally:
        stack.down([POSTGRES])
