"""Holds, the terms of channels, and the recordings that are due, in Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from archive.retention.plan import Aged, ChannelTerms, Days, Hold, Policy, Scope, Terms, due_before
from archive.store import QUERIES
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool

HOLDS_MAX = 1_000
CHANNELS_MAX = 100_000
NEVER = datetime.min.replace(tzinfo=UTC)
"""Older than this is no recording."""


async def is_held(connection: Connection, stream_id: UUID) -> bool:
    """Whether a hold keeps the recording from being cooled, deleted or purged.

    Ask in the transaction that then does it: a hold waits for the end of those that have asked, so what it covers is
    safe from the moment that it stands.
    """
    await QUERIES.share_holds(connection)
    held: bool = await QUERIES.is_held(connection, stream_id=stream_id)
    return held


async def place_hold(pool: Pool, *, scope: Scope, subject_id: UUID | None, reason: str, placed_by: str) -> UUID:
    """Keep everything, or one channel's recordings, or one recording as they are, until it is released; the hold's id.

    Waits for what is being deleted at this moment.
    """
    hold_id = uuid7()
    async with pool.acquire() as connection, connection.transaction():
        await QUERIES.lock_holds(connection)
        await QUERIES.add_hold(
            connection, hold_id=hold_id, scope=scope, subject_id=subject_id, reason=reason, placed_by=placed_by
        )
    return hold_id


async def release_hold(pool: Pool, hold_id: UUID, *, released_by: str) -> bool:
    """Let go; False: there is no such hold in force."""
    return bool(await QUERIES.release_hold(pool, hold_id=hold_id, released_by=released_by))


async def list_holds(pool: Pool, *, include_released: bool = False) -> list[Hold]:
    """Holds, the newest first."""
    rows = await QUERIES.list_holds(pool, include_released=include_released, rows_max=HOLDS_MAX)
    return [Hold(**row) for row in rows]


async def set_terms(pool: Pool, terms: ChannelTerms, *, set_by: str) -> None:
    """Give a channel terms of its own; one that has none in either goes by the settings again."""
    if terms.cold_after_days is None and terms.delete_after_days is None:
        await QUERIES.drop_channel_retention(pool, channel_id=terms.channel_id)
        return
    await QUERIES.set_channel_retention(
        pool,
        channel_id=terms.channel_id,
        cold_after_days=_days(terms.cold_after_days),
        cold_never=terms.cold_after_days == "never",
        delete_after_days=_days(terms.delete_after_days),
        delete_never=terms.delete_after_days == "never",
        set_by=set_by,
    )


async def list_terms(pool: Pool) -> list[ChannelTerms]:
    """The channels with terms of their own."""
    return [_terms(row) for row in await QUERIES.list_channel_retention(pool, rows_max=CHANNELS_MAX)]


async def find_terms(pool: Pool, channel_id: UUID) -> ChannelTerms | None:
    """A channel's own terms, if it has some."""
    row = await QUERIES.find_channel_retention(pool, channel_id=channel_id)
    return None if row is None else _terms(row)


async def read_policy(pool: Pool, terms: Terms, *, has_colder_class: bool) -> Policy:
    """Everything that counts, as it is now."""
    channels = {one.channel_id: one for one in await list_terms(pool)}
    return Policy(terms, channels, await list_holds(pool), has_colder_class)


async def list_due_to_cool(pool: Pool, terms: Terms, now: datetime, *, rows_max: int, held: bool) -> list[Aged]:
    """Recordings that are old enough for the colder class, the oldest first: those under a hold, or the others."""
    rows = await QUERIES.list_due_to_cool(
        pool, default_before=due_before(terms.cold_after_days, now) or NEVER, now=now, rows_max=rows_max, held=held
    )
    return [Aged(**row) for row in rows]


async def list_due_to_delete(pool: Pool, terms: Terms, now: datetime, *, rows_max: int, held: bool) -> list[Aged]:
    """Recordings that are older than they are kept, the oldest first: those under a hold, or the others."""
    rows = await QUERIES.list_due_to_delete(
        pool, default_before=due_before(terms.delete_after_days, now) or NEVER, now=now, rows_max=rows_max, held=held
    )
    return [Aged(**row) for row in rows]


async def list_due_to_purge(pool: Pool, now: datetime, *, rows_max: int, held: bool) -> list[Aged]:
    """Deleted recordings that can't be restored any more, the oldest first: those under a hold, or the others."""
    rows = await QUERIES.list_due_to_purge(pool, now=now, rows_max=rows_max, held=held)
    return [Aged(**row, purge_due_at=row["aged_from"]) for row in rows]


async def may_go(connection: Connection, stream_id: UUID) -> datetime | None:
    """Lock the recording and look again: what it is aged from, or None when it is to stay as it is after all."""
    await QUERIES.share_holds(connection)
    row = await QUERIES.lock_due(connection, stream_id=stream_id)
    if row is None or row["kept"]:
        return None
    aged_from: datetime = row["aged_from"]
    return aged_from


def _days(days: Days | None) -> int | None:
    return days if isinstance(days, int) else None


def _terms(row: asyncpg.Record) -> ChannelTerms:
    def days(name: str) -> Days | None:
        never: bool = row[f"{name}_never"]
        after: int | None = row[f"{name}_after_days"]
        return "never" if never else after

    return ChannelTerms(row["channel_id"], days("cold"), days("delete"))
