"""``livestream db``: which indexes there are and what they are for, and which statements cost the most."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from console.db.slow import Costly, NotCounting, costliest, enable
from console.db.used import IndexUse, Report, Use, read_indexes
from console.endings import fail
from console.progress import waiting
from console.server_settings import load_for
from runtime.postgres import connect
from runtime.settings import PostgresSettings

if TYPE_CHECKING:
    _Session = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")

app = typer.Typer(help="Ask the database about itself: indexes and their use, slow statements.", no_args_is_help=True)

MB = 10**6
WORDS: dict[Use, str] = {"used": "", "unused": "unused", "young": "not yet", "rule": "a rule"}
TEXT_CHARACTERS_MAX = 100

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def indexes(
    after_days: Annotated[
        int, typer.Option(min=0, help="An index that nothing has used for so long counts as unused.")
    ] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show every index of every service: what it serves, how often it was used, its size.

    Partitions are summed under their table. An index is unused when nothing has used it since it was made or since the
    server's statistics were reset, and that is --after-days ago; before that it is "not yet". Keys and unique indexes
    are never unused: they are rules. Each server counts for itself, so look at replicas too before dropping one. Also
    told: names of queries that do not exist, and indexes that no migration makes or that are missing. Needs
    LIVESTREAM_POSTGRES_DSN. Exit 0: shown; 1: the database could not be asked.

    Examples:

        livestream db indexes

        livestream db indexes --after-days 7 --json
    """
    report = _ask(read_indexes, what="counting", quiet=as_json)
    after = timedelta(days=after_days)
    if as_json:
        typer.echo(json.dumps(_facts(report, after)))
    else:
        _tell(report, after)


@app.command()
def slow(
    top: Annotated[int, typer.Option(min=1, max=500, help="How many statements.")] = 20,
    enabling: Annotated[
        bool, typer.Option("--enable", help="Have what the server counts readable in this database first.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the statements that have taken the most time in all, by their query's name where they have one.

    The server counts them by pg_stat_statements, which the Postgres of our stacks loads; --enable makes the counts
    readable. Slow ones are also in the logs (`query_slow`) and metrics of each process. Exit 0: shown; 1: not.

    Examples:

        livestream db slow --enable

        livestream db slow --top 5 --json
    """

    async def work(connection: _Session) -> list[Costly]:
        if enabling:
            await enable(connection)
        return await costliest(connection, statements_max=top)

    found = _ask(work, what="counting", quiet=as_json)
    if as_json:
        typer.echo(json.dumps([{field: getattr(one, field) for field in one.__slots__} for one in found]))
        return
    table = Table("query", "calls", "total s", "mean ms", "max ms")
    for one in found:
        name = one.name or one.text[:TEXT_CHARACTERS_MAX]
        table.add_row(name, f"{one.calls:,}", f"{one.total_ms / 1e3:,.1f}", f"{one.mean_ms:,.2f}", f"{one.max_ms:,.1f}")
    Console().print(table)


def _ask(work: Callable[[_Session], Awaitable[T]], *, what: str, quiet: bool) -> T:
    settings = load_for(PostgresSettings)

    async def asked() -> T:
        connection = await connect(settings.postgres_dsn, schema="public")
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        with waiting(what, quiet=quiet):
            return asyncio.run(asked())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, NotCounting) as error:
        raise fail(str(error) or type(error).__name__) from None


def _tell(report: Report, after: timedelta) -> None:
    table = Table("index", "of", "serves", "scans", "MB", "use")
    for one in report.indexes:
        use = WORDS[one.use(report.now, after=after)]
        parts = f" ({one.parts})" if one.parts > 1 else ""
        size = f"{one.size_bytes / MB:,.1f}"
        table.add_row(f"{one.schema}.{one.name}", f"{one.table}{parts}", _purpose(one), f"{one.scans:,}", size, use)
    Console().print(table)
    reset = "never" if report.stats_reset is None else f"{report.stats_reset:%Y-%m-%d %H:%MZ}"
    typer.echo(f"{len(report.indexes)} indexes; statistics were last reset: {reset}")
    unused = [one for one in report.indexes if one.use(report.now, after=after) == "unused"]
    for one in unused:
        days = (report.now - one.counted_since).days
        typer.echo(f"unused: {one.schema}.{one.name}, {one.size_bytes / MB:,.1f} MB, not used in {days} days")
    if not unused:
        typer.echo(f"none is unused since {after.days} days")
    for line in _differences(report):
        typer.echo(line)


def _purpose(one: IndexUse) -> str:
    if one.declared is not None:
        return ", ".join(one.declared.queries) or "?"
    return "a key" if one.is_key else "? (no migration makes it)"


def _differences(report: Report) -> list[str]:
    there = [(one, one.declared) for one in report.indexes]
    lines = [f"not ours: {one.schema}.{one.name}" for one, declared in there if declared is None and not one.is_key]
    lines += [f"missing: {declared.name} ({declared.migration})" for declared in report.missing()]
    lines += [
        f"no such query: {', '.join(declared.unknown)} (named by {declared.migration}: {declared.name})"
        for declared in {one.declared for one in report.indexes if one.declared is not None and one.declared.unknown}
    ]
    return lines


def _facts(report: Report, after: timedelta) -> dict[str, object]:
    return {
        "at": report.now.isoformat(),
        "stats_reset": None if report.stats_reset is None else report.stats_reset.isoformat(),
        "indexes": [
            {
                "schema": one.schema,
                "table": one.table,
                "index": one.name,
                "serves": [] if one.declared is None else list(one.declared.queries),
                "no_such_queries": [] if one.declared is None else list(one.declared.unknown),
                "key": one.is_key,
                "ours": one.is_key or one.declared is not None,
                "partitions": one.parts,
                "scans": one.scans,
                "size_bytes": one.size_bytes,
                "counted_since": one.counted_since.isoformat(),
                "use": one.use(report.now, after=after),
            }
            for one in report.indexes
        ],
        "unused": [
            f"{one.schema}.{one.name}" for one in report.indexes if one.use(report.now, after=after) == "unused"
        ],
        "missing": [declared.name for declared in report.missing()],
    }
