"""``livestream follows``: see who has been away for very long, and silence their follows without waiting for a day."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import asyncpg
import typer

from console.endings import fail
from console.progress import waiting
from notify.away import Silenced, silence_the_away
from notify.mail.away import enqueue_away_mail
from runtime.migrations import StaleSchema, require_migrated
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings, SettingsInvalid, load_settings

AWAY_AFTER_DAYS = 365
SCHEMA = "notify"

app = typer.Typer(help="Look after follows: silence those of people who have been away.", no_args_is_help=True)


@app.callback()
def follows() -> None:
    """Look after follows: silence those of people who have been away."""


@app.command("away")
def command(
    after_days: Annotated[
        int,
        typer.Option(
            min=30,
            max=3_650,
            envvar="LIVESTREAM_NOTIFY_AWAY_AFTER_DAYS",
            help="Away is who has done nothing for so many days.",
        ),
    ] = AWAY_AFTER_DAYS,
    hold: Annotated[
        bool,
        typer.Option(envvar="LIVESTREAM_NOTIFY_AWAY_HOLD", help="As --dry-run: nobody is silenced while it is set."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Tell nothing more to those who have done nothing for a year, and tell them how to undo it.

    Notify does it by itself once a day. Their follows stay and count, and one request of theirs brings everything back.
    Needs LIVESTREAM_POSTGRES_DSN. Exit 0: done, or counted; 1: not.

    Examples:

        livestream follows away --dry-run

        livestream follows away --after-days 730 --dry-run --json
    """
    try:
        settings = load_settings(PostgresSettings)
    except SettingsInvalid as invalid:
        raise fail(invalid.lines) from None
    only_count = dry_run or hold
    with waiting("looking for people who are away", quiet=as_json):
        try:
            found = asyncio.run(_silence(settings, timedelta(days=after_days), only_count=only_count))
        except (StaleSchema, OSError, asyncpg.PostgresError) as error:
            raise fail([str(error)]) from None
    if as_json:
        typer.echo(json.dumps({**asdict(found), "dry_run": only_count}))
        return
    done = "would be told nothing more" if only_count else "are told nothing more"
    typer.echo(f"{found.people} people with {found.follows} follows {done}")


async def _silence(settings: PostgresSettings, after: timedelta, *, only_count: bool) -> Silenced:
    async with open_pool(settings, schema=SCHEMA) as pool:
        await require_migrated(pool, schema=SCHEMA)
        return await silence_the_away(pool, after=after, dry_run=only_count, tell=enqueue_away_mail)
