"""``livestream seed-followers``: give a channel synthetic followers, for demonstrations and measurements."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import typer
from pydantic import SecretStr

from console.endings import fail
from console.progress import counting
from notify.store import seed_followers as insert_followers
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

FOLLOWERS_MAX = 1_000_000
BATCH_FOLLOWERS_MAX = 50_000
"""Followers made by one statement, which must end within the command timeout."""

app = typer.Typer()


@app.command("seed-followers")
def command(
    channel: Annotated[UUID, typer.Argument(help="The streamer's user id.")],
    count: Annotated[int, typer.Argument(min=1, max=FOLLOWERS_MAX, help="How many synthetic followers.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Make synthetic followers of a channel, always the same ones, so that repeating it adds only what is missing.

    Nobody can log in as one of them. Needs LIVESTREAM_POSTGRES_DSN. Exit 0: they are there; 1: not.

    Examples:

        livestream seed-followers 01975a7e-0000-7000-8000-000000000001 5000

        livestream seed-followers 01975a7e-0000-7000-8000-000000000001 5000 --json
    """
    try:
        settings = load_settings(PostgresSettings)
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None
    dsn = settings.postgres_dsn.get_secret_value()
    with counting("followers", count, quiet=as_json) as done:
        made = asyncio.run(seed_followers(dsn, channel, count=count, done=done))
    if as_json:
        typer.echo(json.dumps({"made": made, "were_there": count - made}))
    else:
        typer.echo(f"{made} followers made, {count - made} were there")


async def seed_followers(
    postgres_dsn: str, channel_id: UUID, *, count: int, done: Callable[[int], None] = lambda _more: None
) -> int:
    """Make the synthetic followers 1 to `count` of a channel; how many were missing. `done` hears of every batch."""
    made = 0
    async with open_pool(_patient(postgres_dsn), schema="notify") as pool:
        for first in range(1, count + 1, BATCH_FOLLOWERS_MAX):
            last = min(first + BATCH_FOLLOWERS_MAX - 1, count)
            made += await insert_followers(pool, channel_id, first=first, last=last)
            done(last - first + 1)
    return made


def _patient(postgres_dsn: str) -> PostgresSettings:
    # A batch of thousands may take its time; nobody wants to be told.
    return PostgresSettings(postgres_dsn=SecretStr(postgres_dsn), postgres_slow_query_seconds=10)
