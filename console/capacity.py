"""``livestream capacity``: what recordings will take, month by month, by a plan or by what is measured."""

import asyncio
import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated

import asyncpg
import leather
import typer
from rich.console import Console
from rich.table import Table

from archive.ladder.settings import LadderSettings, parse_ladder
from archive.retention.capacity import (
    AUDIO_BITS_PER_SECOND,
    GB,
    MONTHS_MAX,
    Keeping,
    Load,
    Month,
    Prices,
    Rendition,
    as_records,
    planned_stream,
    project,
)
from archive.retention.capacity_measured import Measured, measure
from console.endings import USED_WRONGLY, fail
from console.progress import waiting
from console.server_settings import load_for
from runtime.migrations import StaleSchema, require_migrated
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings

app = typer.Typer()

TB = 10**12
SCHEMA = "archive"
TABLE_ROWS = 12
LADDER_DEFAULT = str(LadderSettings.model_fields["archive_ladder"].default)
HEADINGS = {
    "month": "month",
    "streams": "streams",
    "recordings": "recordings",
    "segments": "segments",
    "jobs": "jobs",
    "files": "files",
    "objects": "objects",
    "hot": "hot TB",
    "cold": "cold TB",
    "total": "total TB",
}

LadderOption = Annotated[
    str,
    typer.Option(
        envvar="LIVESTREAM_ARCHIVE_LADDER",
        help="Renditions beside the source; its sound alone is counted with them. Empty: the source only.",
    ),
]
ChunkOption = Annotated[
    float,
    typer.Option(min=0.1, envvar="LIVESTREAM_ARCHIVE_CHUNK_SECONDS", help="How long a segment of a rendition is."),
]
ColdOption = Annotated[
    int,
    typer.Option(
        min=0,
        envvar="LIVESTREAM_ARCHIVE_RETENTION_COLD_AFTER_DAYS",
        help="Days until the colder class; 0: there is none.",
    ),
]
DeleteOption = Annotated[
    int,
    typer.Option(min=0, envvar="LIVESTREAM_ARCHIVE_RETENTION_DELETE_AFTER_DAYS", help="Days until deleted; 0: never."),
]
MeasuredOption = Annotated[
    bool, typer.Option("--measured", help="Go on from what the database has, not from the figures above.")
]


@app.command()
def capacity(
    months: Annotated[int, typer.Option(min=1, max=MONTHS_MAX, help="How many months of 30 days.")] = 36,
    streams_a_day: Annotated[float, typer.Option(min=0, help="Streams that begin each day.")] = 500.0,
    hours_each: Annotated[float, typer.Option(min=0, help="How long one is, in hours.")] = 2.0,
    mbit: Annotated[float, typer.Option(min=0, help="Mbit/s of what streamers send.")] = 5.0,
    lines: Annotated[
        int, typer.Option(min=1, help="Lines of its picture: smaller steps of the ladder are made.")
    ] = 1080,
    ladder: LadderOption = LADDER_DEFAULT,
    segment_seconds: Annotated[float, typer.Option(min=0.1, help="How long a segment is.")] = 2.0,
    chunk_seconds: ChunkOption = 6.0,
    cold_after_days: ColdOption = 90,
    delete_after_days: DeleteOption = 1_095,
    undo_days: Annotated[float, typer.Option(min=0, help="Days until what was deleted is gone.")] = 7.0,
    preserved_percent: Annotated[float, typer.Option(min=0, max=100, help="Of all recordings, kept for ever.")] = 0.0,
    growth_percent: Annotated[float, typer.Option(min=-100, max=100, help="More streams each month.")] = 0.0,
    price_hot: Annotated[float | None, typer.Option(min=0, help="Price of a GB a month.")] = None,
    price_cold: Annotated[float | None, typer.Option(min=0, help="The same in the colder class.")] = None,
    measured: MeasuredOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Write the table as Markdown.")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write every column.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the bytes.")] = None,
) -> None:
    """Project rows, objects, bytes and cost of recordings, month by month.

    With --measured the streams of the last 30 days go on as they were, recordings that are there age as well, and the
    growth that was measured is told but not gone on with: give --growth-percent for that. It needs
    LIVESTREAM_POSTGRES_DSN. Cost is told only with a price. Exit 0: projected; 1: the database or a file could not be
    used; 2: used wrongly.

    Examples:

        livestream capacity

        livestream capacity --streams-a-day 20 --mbit 6 --ladder "" --months 12 --price-hot 0.02 --price-cold 0.005

        livestream capacity --measured --csv capacity.csv --plot capacity.svg
    """
    keeping = Keeping(cold_after_days or inf, delete_after_days or inf, undo_days, preserved_percent / 100)
    prices = _prices(price_hot, price_cold, colder=cold_after_days > 0)
    growth = growth_percent / 100
    found = _measured(as_json=as_json) if measured else None
    if found is not None:
        load, hours_each = found.load(growth), found.hours_each
    else:
        each = planned_stream(
            hours=hours_each,
            bits_per_second=mbit * 1e6,
            ladder=_renditions(ladder, lines),
            segment_seconds=segment_seconds,
            chunk_seconds=chunk_seconds,
        )
        load = Load(streams_a_day, each, growth)
    past = () if found is None else found.past
    projected = project(load, keeping, months=months, past=past, prices=prices, hours_each=hours_each)
    _write_files(projected, csv_file, plot_file)
    if as_json:
        typer.echo(json.dumps({"measured": _facts(found), "months": as_records(projected)}))
    elif as_markdown:
        typer.echo(markdown(projected))
    else:
        _tell(load, hours_each, projected, found)


def markdown(months: Sequence[Month]) -> str:
    """The table as Markdown, every few months."""
    names = _columns(months)
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    lines += ["| " + " | ".join(_cells(month)) + " |" for month in _shown(months)]
    return "\n".join(lines)


def _columns(months: Sequence[Month]) -> list[str]:
    cost = ["cost a month"] if months[0].cost is not None else []
    return [*HEADINGS.values(), *cost]


def _cells(month: Month) -> list[str]:
    counts = (month.streams, month.recordings, month.segments, month.jobs, month.files, month.objects)
    cells = [str(month.month), *(f"{round(count):,}" for count in counts)]
    cells += [f"{size_bytes / TB:,.2f}" for size_bytes in (month.hot_bytes, month.cold_bytes, month.size_bytes)]
    return cells if month.cost is None else [*cells, f"{month.cost:,.2f}"]


def _shown(months: Sequence[Month]) -> list[Month]:
    """Some of them, so that they fit on a screen; the first and the last are among them."""
    every = max(1, len(months) // TABLE_ROWS)
    return [month for month in months if month.month % every == 0 or month.month in (1, len(months))]


def _tell(load: Load, hours_each: float, months: Sequence[Month], found: Measured | None) -> None:
    first, each = months[0], load.per_stream
    typer.echo(
        f"{first.streams:,.0f} streams a month ({load.streams_per_day:,.1f} a day) of {hours_each:.2f} h, "
        f"{first.hours or 0:,.0f} h: {first.made_bytes / TB:,.2f} TB a month, {each.size_bytes / GB:,.2f} GB each"
    )
    if found is not None:
        growth = found.growth_per_month
        told = "unknown" if growth is None else f"{growth:+.1%}"
        typer.echo(
            f"now: {found.hot_bytes / TB:,.3f} TB hot, {found.cold_bytes / TB:,.3f} TB cold; "
            f"the last 30 days against the 30 before: {told}"
        )
    table = Table(*_columns(months))
    for column in table.columns:
        column.justify = "right"
    for month in _shown(months):
        table.add_row(*_cells(month))
    Console().print(table)


def _facts(found: Measured | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "hot_bytes": found.hot_bytes,
        "cold_bytes": found.cold_bytes,
        "growth_per_month": found.growth_per_month,
        "tables": {name: {"rows": one.rows, "size_bytes": one.size_bytes} for name, one in found.tables.items()},
    }


def _prices(hot: float | None, cold: float | None, *, colder: bool) -> Prices | None:
    if hot is None and cold is None:
        return None
    if hot is None or (cold is None and colder):
        raise fail("give --price-hot and --price-cold, or --cold-after-days 0", code=USED_WRONGLY)
    return Prices(hot, cold or 0.0)


def _renditions(ladder: str, lines: int) -> list[Rendition]:
    try:
        steps = parse_ladder(ladder)
    except ValueError as error:
        raise fail(f"--ladder: {error}", code=USED_WRONGLY) from None
    deserved = [step for step in steps if step.lines < lines]
    pictures = [Rendition(step.name, step.video_bits_per_second_max + AUDIO_BITS_PER_SECOND) for step in deserved]
    return [*pictures, Rendition("audio", AUDIO_BITS_PER_SECOND)] if pictures else []


def _measured(*, as_json: bool) -> Measured:
    settings = load_for(PostgresSettings)

    async def work() -> Measured:
        async with open_pool(settings, schema=SCHEMA) as pool, pool.acquire() as connection:
            await require_migrated(pool, schema=SCHEMA)
            return await measure(connection, datetime.now(UTC))

    try:
        with waiting("measuring", quiet=as_json):
            return asyncio.run(work())
    except (StaleSchema, OSError, asyncpg.PostgresError) as error:
        raise fail(str(error)) from None


def _write_files(months: Sequence[Month], csv_file: Path | None, plot_file: Path | None) -> None:
    try:
        if csv_file is not None:
            with csv_file.open("w", newline="") as file:
                records = as_records(months)
                writer = csv.DictWriter(file, fieldnames=list(records[0]))
                writer.writeheader()
                writer.writerows(records)
        if plot_file is not None:
            plot_file.write_text(plot(months))
    except OSError as error:
        raise fail(str(error)) from None


def plot(months: Sequence[Month]) -> str:
    """The bytes by month as an SVG document."""
    chart = leather.Chart("Recordings, TB at the end of each month")
    for name, field in (("total", "size_bytes"), ("hot", "hot_bytes"), ("cold", "cold_bytes")):
        chart.add_line([(0, 0.0), *((one.month, getattr(one, field) / TB) for one in months)], name=name)
    chart.add_x_axis(name="month")
    return str(chart.to_svg())
