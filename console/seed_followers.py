"""``livestream seed-followers``: give a channel synthetic followers, for demonstrations and measurements."""

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from notify.store import seed_followers as insert_followers
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

FOLLOWERS_MAX = 1_000_000
BATCH_FOLLOWERS_MAX = 50_000
"""Followers made by one statement, which must end within the command timeout."""

app = typer.Typer()


@app.command()
def seed_followers(
    channel: Annotated[UUID, typer.Argument(help="The streamer's user id.")],
    followers: Annotated[int, typer.Argument(min=1, max=FOLLOWERS_MAX, help="How many it shall have, at least.")],
) -> None:
    """Make synthetic followers of a channel, always the same ones, so that repeating it adds only what is missing.

    Nobody can log in as one of them. Needs LIVESTREAM_POSTGRES_DSN. Exit 0: they are there; 1: not.

    Example:

        livestream seed-followers 01975a7e-0000-7000-8000-000000000001 5000
    """
    try:
        settings = load_settings(PostgresSettings)
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
        raise typer.Exit(1) from None
    made = asyncio.run(seed(settings, channel, followers))
    typer.echo(f"{made} followers made, {followers - made} were there")


async def seed(settings: PostgresSettings, channel_id: UUID, followers: int) -> int:
    """Make the synthetic followers 1 to `followers` of a channel; how many were missing."""
    made = 0
    async with open_pool(settings, schema="notify") as pool:
        for first in range(1, followers + 1, BATCH_FOLLOWERS_MAX):
            last = min(first + BATCH_FOLLOWERS_MAX - 1, followers)
            made += await insert_followers(pool, channel_id, first=first, last=last)
    return made
