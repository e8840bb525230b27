"""``livestream keys``: look at the keys that sign access tokens, and replace them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import asyncpg
import typer

from accounts.errors import SigningKeyUnreadable
from accounts.keys import KeyState, Rotation, list_keys, replace_leaked_keys, rotate_keys
from accounts.settings import SealingSettings
from console.endings import fail
from console.server_settings import load_for
from runtime.migrations import StaleSchema, require_migrated
from runtime.postgres import Pool, open_pool

SCHEMA = "accounts"

app = typer.Typer(help="Look at the keys that sign access tokens, and replace them.", no_args_is_help=True)

T = TypeVar("T")
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command("list")
def show(as_json: JsonOption = False) -> None:
    """Show the keys that are published, and which of them signs.

    Needs LIVESTREAM_POSTGRES_DSN and LIVESTREAM_ACCOUNTS_KEY_SECRET. Exit 0: shown; 1: not.

    Examples:

        livestream keys list

        livestream keys list --json
    """

    async def work(pool: Pool, _settings: SealingSettings) -> list[KeyState]:
        return await list_keys(pool)

    found = _run(work)
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found]))
        return
    for one in found:
        typer.echo(f"{one.state:8}  {one.key_id}  signs from {one.signs_from:%Y-%m-%d %H:%M:%SZ}")
    if not found:
        typer.echo("no keys yet: accounts makes the first at its start")


@app.command()
def rotate(
    leaked: Annotated[
        bool,
        typer.Option("--leaked", help="Forget the present keys at once: no access token of until now counts any more."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish a new key, which signs after LIVESTREAM_ACCOUNTS_KEY_LEAD_SECONDS; nobody is logged out.

    The present key signs until then, and is published for two hours more, until its tokens have expired. Running
    processes see it within seconds. With --leaked clients have to refresh, which they do by themselves; nobody logs in
    again.

    Needs LIVESTREAM_POSTGRES_DSN and LIVESTREAM_ACCOUNTS_KEY_SECRET, the one that accounts has. Exit 0: done; 1: not,
    or a new key is waiting for its turn already.

    Examples:

        livestream keys rotate

        livestream keys rotate --leaked --json
    """

    async def work(pool: Pool, settings: SealingSettings) -> Rotation | None:
        if leaked:
            return await replace_leaked_keys(pool, settings.key_secret())
        return await rotate_keys(pool, settings.key_secret(), lead_seconds=settings.accounts_key_lead_seconds)

    rotated = _run(work)
    if rotated is None:
        raise fail("a new key is waiting for its turn already; `livestream keys list` shows when it signs")
    if as_json:
        typer.echo(json.dumps({"key_id": rotated.key_id, "signs_in_seconds": rotated.signs_in_seconds}))
        return
    typer.echo(f"{rotated.key_id} signs in {rotated.signs_in_seconds:g} s")


def _run(work: Callable[[Pool, SealingSettings], Awaitable[T]]) -> T:
    settings = load_for(SealingSettings)

    async def with_pool() -> T:
        async with open_pool(settings, schema=SCHEMA) as pool:
            await require_migrated(pool, schema=SCHEMA)
            return await work(pool, settings)

    try:
        return asyncio.run(with_pool())
    except (StaleSchema, SigningKeyUnreadable, OSError, asyncpg.PostgresError) as error:
        raise fail(str(error)) from None
