"""What recordings take now and how many came lately, measured in the running system's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from archive.retention.capacity import DAYS_A_MONTH, Load, Past, PerStream
from archive.store import QUERIES
from runtime.postgres import Connection

PAST_MONTHS_MAX = 120
TABLES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """One table with its partitions: rows as the server estimates them, bytes with indexes."""

    name: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found. ``past``: months of 30 days before now, the latest first.

    ``hot_bytes`` and ``cold_bytes`` are those of recordings whose objects are there.
    """

    past: Sequence[Past]
    hours_each: float
    hot_bytes: int
    cold_bytes: int
    tables: Mapping[str, Table]

    @property
    def growth_per_month(self) -> float | None:
        """By what share the last 30 days brought more bytes than the 30 before; None when these brought nothing."""
        for latest, before in pairwise(self.past):
            return latest.size_bytes / before.size_bytes - 1 if before.size_bytes else None
        return None

    def load(self, growth_per_month: float) -> Load:
        """As many streams as in the last 30 days, each like the average one of all that are kept."""
        latest = self.past[0] if self.past else Past(0, 0)
        kept = max(1.0, sum(month.streams for month in self.past))

        def each(table: str) -> float:
            return self.tables[table].rows / kept if table in self.tables else 0.0

        per_stream = PerStream(
            size_bytes=latest.size_bytes / max(1.0, latest.streams),
            segments=each("segments"),
            jobs=each("jobs"),
            renditions=max(1.0, each("renditions")),
            files=each("recording_files"),
        )
        return Load(latest.streams / DAYS_A_MONTH, per_stream, growth_per_month)


async def measure(connection: Connection, now: datetime) -> Measured:
    """Read what is there. Sizes are added up by recording, so it is quick however many segments there are."""
    rows = await QUERIES.measure_months(connection, now=now, rows_max=PAST_MONTHS_MAX)
    months = {row["month"]: row for row in rows}
    past = [
        Past(months[month]["streams"], months[month]["size_bytes"]) if month in months else Past(0, 0)
        for month in range(max(months, default=-1) + 1)
    ]
    tables = [Table(**row) for row in await QUERIES.measure_tables(connection, rows_max=TABLES_MAX)]
    streams = months[0]["streams"] if 0 in months else 0
    return Measured(
        past=past,
        hours_each=months[0]["duration_ms"] / 3_600_000 / streams if streams else 0.0,
        hot_bytes=sum(row["size_bytes"] - row["cold_bytes"] for row in rows),
        cold_bytes=sum(row["cold_bytes"] for row in rows),
        tables={table.name: table for table in tables},
    )
