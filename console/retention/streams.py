"""Streaming's part of ``livestream retention``: streams that move to the cold table, and streams that go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from console.retention.port import Action, Found, Line
from runtime.migrations import require_migrated
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from streaming.retention.retention import COUNTED_MAX, Due, Month, Plan, StreamRetention, terms_of
from streaming.retention.settings import StreamRetentionSettings

SCHEMA = "streaming"


class StreamRetentionVerbSettings(PostgresSettings, StreamRetentionSettings):
    """What it takes to plan and to do."""


@dataclass(frozen=True)
class StreamRetentionOf:
    """Streams by the months they began in. What is moved frees nothing; it is found by its id as before."""

    work: StreamRetention
    service: str = SCHEMA

    async def plan(self, now: datetime) -> Found:
        """See the port."""
        planned = await self.work.plan(now)
        moved = _line("cool", sum(one.streams for one in planned.months) + planned.strays, _size(planned.months))
        return Found(
            lines=[*([] if planned.everything_held else moved), *_due(planned.purge)],
            held=[*(moved if planned.everything_held else []), *_due(planned.held)],
            notes=_notes(planned),
        )

    async def apply(self, now: datetime) -> Found:
        """See the port."""
        planned = await self.work.plan(now)
        done = await self.work.round(now)
        told = [f"{done.dropped} empty months were dropped"] if done.dropped else []
        told += (
            [f"{done.forgotten} prepared streams that never began, or long ago, were forgotten"]
            if done.forgotten
            else []
        )
        return Found(
            lines=[*_line("cool", done.moved, _size(planned.months)), *_line("purge", done.purged, 0)], notes=told
        )


@asynccontextmanager
async def open_streams(settings: StreamRetentionVerbSettings) -> AsyncIterator[StreamRetentionOf]:
    """Streaming's part, with its database. Raises StaleSchema, OSError."""
    async with open_streams_pool(settings) as pool:
        yield StreamRetentionOf(StreamRetention(pool, terms_of(settings)))


@asynccontextmanager
async def open_streams_pool(settings: PostgresSettings) -> AsyncIterator[Pool]:
    """Streaming's database. Raises StaleSchema, OSError."""
    async with open_pool(settings, schema=SCHEMA) as pool:
        await require_migrated(pool, schema=SCHEMA)
        yield pool


def _line(action: Action, count: int, size_bytes: int) -> list[Line]:
    return [Line(action, None, count, size_bytes)] if count else []


def _due(due: Due) -> list[Line]:
    return _line("purge", due.streams, due.size_bytes)


def _size(months: tuple[Month, ...]) -> int:
    return sum(one.size_bytes for one in months)


def _notes(planned: Plan) -> list[str]:
    notes = []
    if planned.months:
        first, last = planned.months[0].month, planned.months[-1].month
        held = ", but everything is held" if planned.everything_held else ""
        notes.append(f"{len(planned.months)} months to the cold table: {first:%Y-%m} to {last:%Y-%m}{held}")
    if planned.strays:
        notes.append(f"{planned.strays} streams to the cold table from the partition of streams without a month")
    for due, what in ((planned.purge, "to be purged"), (planned.held, "held")):
        if due.first_at is not None and due.last_at is not None:
            notes.append(f"{due.streams:,} streams {what}: from {due.first_at:%Y-%m-%d} to {due.last_at:%Y-%m-%d}")
    if planned.purge.streams + planned.held.streams >= COUNTED_MAX:
        notes.append(f"there are more than {COUNTED_MAX} streams that are too old; so many were counted")
    return notes
