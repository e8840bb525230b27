"""``livestream operators``: who may end and kick the streams of others."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import asyncpg
import typer

from accounts.operators import list_operators, set_operator
from accounts.usernames import folded
from console.endings import fail
from console.server_settings import load_for
from runtime.migrations import StaleSchema, require_migrated
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

SCHEMA = "accounts"

app = typer.Typer(help="Say who may end and kick the streams of others.", no_args_is_help=True)

T = TypeVar("T")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A username.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def add(username: NameArgument, as_json: JsonOption = False) -> None:
    """Make somebody an operator; their clients know it within ten minutes, at once after a new login.

    Needs LIVESTREAM_POSTGRES_DSN. Exit 0: done (also when it was so); 1: nobody has this name, or it was not done.

    Examples:

        livestream operators add ann

        livestream operators add ann --json
    """
    _set(username, is_operator=True, as_json=as_json)


@app.command()
def remove(username: NameArgument, as_json: JsonOption = False) -> None:
    """Make somebody no operator any more; an access token that says otherwise lives for ten minutes at most.

    Needs LIVESTREAM_POSTGRES_DSN. Exit 0: done (also when it was so); 1: nobody has this name, or it was not done.

    Examples:

        livestream operators remove ann

        livestream operators remove ann --json
    """
    _set(username, is_operator=False, as_json=as_json)


@app.command("list")
def show(as_json: JsonOption = False) -> None:
    """Show the operators by name.

    Needs LIVESTREAM_POSTGRES_DSN. Exit 0: shown, also when there are none; 1: not.

    Examples:

        livestream operators list

        livestream operators list --json
    """
    found = _run(list_operators)
    if as_json:
        typer.echo(json.dumps([{"user_id": str(one.user_id), "username": one.username} for one in found]))
        return
    for one in found:
        typer.echo(f"{one.username}  {one.user_id}")
    if not found:
        typer.echo("no operators")


def _set(username: str, *, is_operator: bool, as_json: bool) -> None:
    async def work(pool: Pool) -> str | None:
        user_id = await set_operator(pool, folded(username), is_operator=is_operator)
        return None if user_id is None else str(user_id)

    user_id = _run(work)
    if user_id is None:
        raise fail(f"nobody is called {username!r}")
    if as_json:
        typer.echo(json.dumps({"user_id": user_id, "username": folded(username), "is_operator": is_operator}))
        return
    typer.echo(f"{folded(username)} is {'an operator' if is_operator else 'no operator'} now")


def _run(work: Callable[[Pool], Awaitable[T]]) -> T:
    settings = load_for(PostgresSettings)

    async def with_pool() -> T:
        async with open_pool(settings, schema=SCHEMA) as pool:
            await require_migrated(pool, schema=SCHEMA)
            return await work(pool)

    try:
        return asyncio.run(with_pool())
    except (StaleSchema, OSError, asyncpg.PostgresError) as error:
        raise fail(str(error)) from None
