"""Old streams move by months and go in the end: nobody misses one on the way, holds keep them, nothing dangles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from streaming.retention import holds
from streaming.retention.retention import Done, StreamRetention, Terms
from streaming.store import queries
from tests.engines import Database

TERMS = Terms(cold_after_days=731, purge_after_days=2_557)
NOW = datetime(2026, 6, 15, tzinfo=UTC)
MOVED = (datetime(2023, 2, 10, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC))
KEPT = datetime(2024, 7, 10, tzinfo=UTC)
OLD = datetime(2019, 1, 10, tzinfo=UTC)
CHANNEL = uuid7()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """Streaming's database, with months from 2019 on and a channel."""
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="streaming") as opened:
        for month in (OLD, *MOVED, KEPT):
            await make_month(opened, month)
        await opened.execute("insert into channels (channel_id, name) values ($1, 'ada')", CHANNEL)
        yield opened


async def make_month(pool: Pool, moment: datetime, table: str = "streams") -> None:
    """The partition of a moment's month, as it would have been made then."""
    first = moment.replace(day=1)
    later = (first + timedelta(days=32)).replace(day=1)
    bounds = [await pool.fetchval("select first_id_of($1)::text", one) for one in (first, later)]
    name = f"{table}_{first:%Y_%m}"
    await pool.execute(f"create table {name} (like {table} including defaults including constraints)")
    await pool.execute(
        f"alter table {table} attach partition {name} for values from ('{bounds[0]}') to ('{bounds[1]}')"
    )


def id_of(moment: datetime) -> UUID:
    """A UUIDv7 made at a moment."""
    milliseconds = int(moment.timestamp() * 1_000)
    return UUID(int=(milliseconds << 80) | (uuid7().int & ((1 << 80) - 1)))


async def add_stream(pool: Pool, moment: datetime, *, channel_id: UUID = CHANNEL, live: bool = False) -> UUID:
    """A stream of a moment, with what was said of its recording."""
    stream_id = id_of(moment)
    await pool.execute(
        "insert into streams (stream_id, channel_id, title, status, started_at, ended_at, end_reason)"
        " values ($1, $2, 'a title', $3, $4, $5, $6)",
        stream_id,
        channel_id,
        "live" if live else "ended",
        moment,
        None if live else moment + timedelta(hours=2),
        None if live else "streamer",
    )
    await pool.execute("insert into recordings (stream_id, status) values ($1, 'completed')", stream_id)
    return stream_id


async def where(pool: Pool, stream_id: UUID) -> list[str]:
    """The tables that have a stream."""
    found = "select tableoid::regclass::text from {} where stream_id = $1"
    return [row[0] for name in ("streams", "streams_cold") for row in await pool.fetch(found.format(name), stream_id)]


async def add_statistics(pool: Pool, stream_ids: list[UUID]) -> None:
    """A row for a minute of each."""
    for stream_id in stream_ids:
        await pool.execute("insert into stream_stats values ($1, now(), 1, 1, 1)", stream_id)


async def statistics(pool: Pool) -> set[UUID]:
    """The streams that have some."""
    return {row["stream_id"] for row in await pool.fetch("select stream_id from stream_stats")}


async def test_old_months_move_whole_and_a_stream_is_still_found_by_its_id(pool: Pool) -> None:
    moved = [await add_stream(pool, moment) for moment in MOVED]
    stray = await add_stream(pool, datetime(2022, 5, 5, tzinfo=UTC))  # no month of its own
    kept = await add_stream(pool, KEPT)
    retention = StreamRetention(pool, TERMS)
    plan = await retention.plan(NOW)
    assert [(one.month.strftime("%Y-%m"), one.streams) for one in plan.months] == [
        ("2019-01", 0),
        ("2023-02", 1),
        ("2024-03", 1),
    ]
    assert plan.strays == 1
    assert await where(pool, moved[0]) == ["streams_2023_02"], "a plan changes nothing"
    done = await retention.round(NOW)
    assert (done.months, done.moved, done.purged) == (3, 3, 0)
    assert [await where(pool, one) for one in (*moved, stray, kept)] == [
        ["streams_cold_2023_02"],
        ["streams_cold_2024_03"],
        ["streams_cold_2022_05"],
        ["streams_2024_07"],
    ]
    for stream_id in (*moved, stray, kept):
        row = await queries.find_stream(pool, stream_id=stream_id)
        assert (row["title"], row["channel_name"]) == ("a title", "ada")
    indexes = "select indexname from pg_indexes where schemaname = 'streaming' and tablename = 'streams_cold_2023_02'"
    assert len(await pool.fetch(indexes)) == 1, "the key alone"
    assert await retention.round(NOW) == Done(), "nothing is left to do"
    await pool.execute(
        "insert into prepared_streams (prepared_id, channel_id, title, visibility, expires_at)"
        " values ($1, $3, 'over', 'public', now()), ($2, $3, 'to come', 'public', now() + interval '1 day')",
        uuid7(),
        uuid7(),
        CHANNEL,
    )
    assert await retention.round(NOW) == Done(forgotten=1)
    assert await pool.fetchval("select title from prepared_streams") == "to come"


async def test_a_month_with_a_stream_that_is_young_or_not_over_stays(pool: Pool) -> None:
    young = await add_stream(pool, MOVED[0], live=True)
    beside = await add_stream(pool, MOVED[0])
    assert (await StreamRetention(pool, TERMS).round(NOW)).moved == 0
    assert await pool.fetchval("select move_stream_month('2023-02-01', $1)", NOW) is None, "looked at again"
    assert await where(pool, young) == await where(pool, beside) == ["streams_2023_02"]


async def test_what_is_too_old_goes_with_all_that_is_its_unless_it_is_held(pool: Pool) -> None:
    other = uuid7()
    await pool.execute("insert into channels (channel_id, name) values ($1, 'eve')", other)
    gone, held, of_held = [await add_stream(pool, OLD, channel_id=one) for one in (CHANNEL, CHANNEL, other)]
    told_later = id_of(OLD)
    await pool.execute("insert into recordings (stream_id, status) values ($1, 'completed')", told_later)
    hold_ids = [uuid7(), uuid7()]
    await holds.place_hold(pool, hold_ids[0], "stream", held, reason="a court", placed_by="ada")
    await holds.place_hold(pool, hold_ids[1], "channel", other, reason="a court", placed_by="ada")
    retention = StreamRetention(pool, TERMS)
    plan = await retention.plan(NOW)
    assert (plan.purge.streams, plan.held.streams) == (1, 2)
    await make_month(pool, OLD, "stream_stats")
    await add_statistics(pool, [gone, held])
    done = await retention.round(NOW)
    assert (done.moved, done.purged, done.dropped) == (3, 1, 0)
    assert [bool(await where(pool, one)) for one in (gone, held, of_held)] == [False, True, True]
    left = {row["stream_id"] for row in await pool.fetch("select stream_id from recordings")}
    assert left == {held, of_held}
    assert await statistics(pool) == {held}
    for hold_id in hold_ids:
        assert await holds.release_hold(pool, hold_id, released_by="ada")
    assert (await retention.round(NOW)).purged == 2
    assert not await pool.fetch("select from recordings")
    assert await statistics(pool) == set()
    for emptied in ("streams_cold_2019_01", "stream_stats_2019_01"):
        assert await pool.fetchval("select to_regclass($1)", emptied) is None


async def test_while_everything_is_held_nothing_moves_and_nothing_goes(pool: Pool) -> None:
    stream_ids = [await add_stream(pool, moment) for moment in (OLD, MOVED[0])]
    await holds.place_hold(pool, uuid7(), "everything", None, reason="restoring a backup", placed_by="ada")
    retention = StreamRetention(pool, TERMS)
    assert (await retention.plan(NOW)).everything_held
    assert await retention.round(NOW) == Done()
    assert [await where(pool, one) for one in stream_ids] == [["streams_2019_01"], ["streams_2023_02"]]


async def test_readers_see_every_stream_once_while_its_month_moves(pool: Pool) -> None:
    """Readers by id, all the time, and one that holds the table for longer than the move waits."""
    stream_ids = [await add_stream(pool, moment) for moment in (*MOVED, KEPT) for _ in range(5)]
    wrong: list[UUID] = []
    reads: asyncio.Queue[UUID] = asyncio.Queue()

    async def some_reads() -> None:
        async with asyncio.timeout(20):
            for _ in range(reads.qsize() + 30):
                await reads.get()

    async def read(offset: int) -> None:
        while True:
            for stream_id in stream_ids[offset:] + stream_ids[:offset]:
                row = await queries.find_stream(pool, stream_id=stream_id)
                rows = await pool.fetchval(
                    "select count(*) from (select stream_id from streams where stream_id = $1"
                    " union all select stream_id from streams_cold where stream_id = $1) as s",
                    stream_id,
                )
                reads.put_nowait(stream_id)
                if row is None or rows != 1:
                    wrong.append(stream_id)

    readers = [asyncio.create_task(read(offset)) for offset in (0, 5, 10)]
    async with pool.acquire() as reader:
        transaction = reader.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        assert await reader.fetchval("select count(*) from streams") == len(stream_ids)
        moving = asyncio.create_task(StreamRetention(pool, TERMS).round(NOW))
        await some_reads()  # readers go on while the move waits for the one that holds the table
        assert not moving.done()
        assert await reader.fetchval("select count(*) from streams") == len(stream_ids)
        await transaction.rollback()
    assert (await moving).moved == 10
    await some_reads()
    for task in readers:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert not wrong


async def test_a_move_that_is_cut_short_is_gone_on_with(pool: Pool) -> None:
    """After each of the transactions that a move consists of."""
    stream_ids, cold = [], []
    for steps in range(4):
        moment = datetime(2023, 6 + steps, 10, tzinfo=UTC)
        await make_month(pool, moment)
        stream_ids.append(await add_stream(pool, moment))
        cold.append([f"streams_cold_2023_{6 + steps:02}"])
        month = datetime(2023, 6 + steps, 1)
        if steps > 0:
            await queries.fence_stream_month(pool, month=month, checked=False)
        if steps > 1:
            await queries.fence_stream_month(pool, month=month, checked=True)
        if steps > 2:
            await queries.move_stream_month(pool, month=month, cold_before=NOW)
    await StreamRetention(pool, TERMS).round(NOW)
    assert [await where(pool, one) for one in stream_ids] == cold


async def test_the_cold_table_has_the_columns_and_rules_of_streams(database: Database) -> None:
    """In their order, too: reads put the two below each other. Whoever changes one changes the other."""
    connection = await asyncpg.connect(database.url, server_settings={"search_path": "streaming"})
    try:
        columns, rules = [], []
        for name in ("streams", "streams_cold"):
            columns.append(
                await connection.fetch(
                    "select attname, atttypid, attnotnull, pg_get_expr(adbin, adrelid) from pg_attribute"
                    " left join pg_attrdef on adrelid = attrelid and adnum = attnum"
                    " where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum",
                    name,
                )
            )
            rules.append(
                await connection.fetch(
                    "select conname, pg_get_constraintdef(oid) from pg_constraint"
                    " where conrelid = $1::regclass and contype = 'c' order by conname",
                    name,
                )
            )
    finally:
        await connection.close()
    assert columns[0] == columns[1]
    assert rules[0] == rules[1]
