"""``livestream groups``: see how far the consumer groups on Postgres are, and forget one that is gone for good."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from console.progress import waiting
from eventbus.group_backlog import BEHIND_AFTER_SECONDS, Backlog, read_backlogs
from eventbus.log_postgres import BUS_SCHEMA
from eventbus.outbox import QUERIES
from eventbus.settings import BusChoice, BusSettings
from events import TOPICS
from runtime.migrations import StaleSchema, require_migrated
from runtime.postgres import Pool, open_pool
from runtime.settings import SettingsInvalid, load_settings

app = typer.Typer(help="Look at consumer groups on Postgres, and forget those that are gone.", no_args_is_help=True)

T = TypeVar("T")
MEMBER_LIVES = -1
ON_KAFKA = (
    "the bus is kafka, which keeps its groups itself: ask its own tool, kafka-consumer-groups.sh"
    " (LIVESTREAM_BUS_BACKEND=postgres is the bus that this command looks at)"
)
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


class _Refused(Exception):
    """The text is for the operator."""


@app.command("list")
def list_groups(as_json: JsonOption = False) -> None:
    """Show every group with what it reads, who works on it, and how old the oldest unread event is.

    Exit 0: nobody is far behind; 3: a group is behind by more than five minutes; 1: Postgres could not be asked.

    Examples:

        livestream groups list

        livestream groups list --json
    """

    async def work(pool: Pool) -> list[Backlog]:
        async with pool.acquire() as connection:
            return await read_backlogs(connection, TOPICS)

    backlogs = _run(work, as_json=as_json)
    now = datetime.now(UTC)
    if as_json:
        typer.echo(json.dumps([_row(one, now) for one in backlogs]))
    else:
        table = Table("group", "topic", "partitions worked on", "reads from", "oldest unread")
        for one in backlogs:
            seconds = one.behind_seconds(now)
            table.add_row(
                one.group,
                one.topic,
                f"{one.worked_on} of {one.partitions}",
                str(one.next_offset),
                f"{seconds:.0f} s" if seconds else "-",
            )
        Console().print(table)
    if any(one.behind_seconds(now) > BEHIND_AFTER_SECONDS for one in backlogs):
        raise typer.Exit(3)


@app.command()
def forget(
    name: Annotated[str, typer.Argument(help="The group, as `list` shows it.")], as_json: JsonOption = False
) -> None:
    """Forget a group that will never come back, so that the outboxes need not be kept for it.

    If it does come back it begins at the oldest event that is kept. Exit 0: forgotten; 1: there is no such group, a
    member of it lives, or Postgres could not be asked.

    Examples:

        livestream groups forget tips-streams
    """

    async def work(pool: Pool) -> int:
        forgotten: int = await QUERIES.forget_group(pool, group_name=name)
        if forgotten == MEMBER_LIVES:
            raise _Refused(f"a member of {name} lives: stop what consumes for it first")
        if forgotten == 0:
            raise _Refused(f"no group {name}: `livestream groups list` shows them")
        return forgotten

    forgotten = _run(work, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({"group": name, "partitions": forgotten}))
    else:
        typer.echo(f"forgot {name} and its place in {forgotten} partitions")


def _row(backlog: Backlog, now: datetime) -> dict[str, object]:
    return {
        "group": backlog.group,
        "topic": backlog.topic,
        "partitions": backlog.partitions,
        "worked_on": backlog.worked_on,
        "next_offset": backlog.next_offset,
        "oldest_unread_seconds": round(backlog.behind_seconds(now), 1),
    }


def _run(work: Callable[[Pool], Awaitable[T]], *, as_json: bool) -> T:
    async def with_pool() -> T:
        if load_settings(BusChoice).bus_backend != "postgres":
            raise _Refused(ON_KAFKA)
        settings = load_settings(BusSettings)
        async with open_pool(settings, schema=BUS_SCHEMA) as pool:
            await require_migrated(pool, schema=BUS_SCHEMA)
            return await work(pool)

    try:
        with waiting("asking Postgres", quiet=as_json):
            return asyncio.run(with_pool())
    except SettingsInvalid as invalid:
        typer.echo("\n".join(invalid.lines), err=True)
    except (_Refused, StaleSchema, OSError, asyncpg.PostgresError) as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)
