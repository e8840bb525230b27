"""Saying events in transactions, the relay's leadership and cursor, and the housekeeping of partitions."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import pytest

from eventbus.bus import BusUnavailable, Record
from eventbus.housekeeping import Housekeeping
from eventbus.outbox import EVENT_BYTES_MAX, QUERIES, EventTooLarge, Outbox
from eventbus.relay import Relay
from events import decode
from events.topics import EVENT_MODELS
from runtime.health import Health
from runtime.postgres import Pool, connect
from runtime.trace import trace_scope
from tests.engines import Database
from tests.integration.eventbus.conftest import SCHEMA
from tests.integration.eventbus.saying import Recorder, by_channel, eventually, numbered, running, until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_an_event_is_published_whole_with_the_trace_of_its_cause(database: Database, outbox: Outbox) -> None:
    published = Recorder()
    event = numbered(7, 1)
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        with trace_scope(TRACEPARENT):
            async with outbox.transaction() as transaction:
                await transaction.say(event)
        await until(lambda: bool(published.records), what="the event")
    [record] = published.records
    envelope = decode(EVENT_MODELS, record.value, record.headers)
    assert (record.topic, record.key) == ("streams.v1", event.key.encode())
    assert (envelope.event, envelope.source) == (event, SCHEMA)
    assert envelope.traceparent is not None
    assert envelope.traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")


async def test_events_of_one_transaction_keep_the_order_of_saying(database: Database, outbox: Outbox) -> None:
    published = Recorder()
    async with outbox.transaction() as transaction:
        await transaction.say(*(numbered(1, number) for number in range(50)))
        await transaction.say(numbered(1, 50))
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        await until(lambda: len(published.records) == 51, what="all events")
    assert by_channel(published.records) == {1: list(range(51))}


async def test_a_rolled_back_transaction_says_nothing(pool: Pool, outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="after all"):
        async with outbox.transaction() as transaction:
            await transaction.say(numbered(1, 1))
            raise ValueError("after all")
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0
    assert not outbox.said.is_set()


async def test_what_is_to_follow_a_commit_follows_it_and_never_a_rollback(pool: Pool, outbox: Outbox) -> None:
    done: list[str] = []
    with pytest.raises(ValueError, match="after all"):
        async with outbox.transaction() as transaction:
            transaction.after_commit(lambda: done.append("rolled back"))
            raise ValueError("after all")
    async with outbox.transaction() as transaction:
        transaction.after_commit(lambda: done.append("committed"))
        assert done == []
    assert done == ["committed"]


async def test_an_event_that_is_too_large_is_refused_when_it_is_said(pool: Pool, outbox: Outbox) -> None:
    event = numbered(1, 1).model_copy(update={"title": "x" * EVENT_BYTES_MAX})
    with pytest.raises(EventTooLarge) as raised:
        async with outbox.transaction() as transaction:
            await transaction.say(event)
    assert raised.value.event_type == "stream.started"
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_an_operator_can_read_the_outbox_in_sql(pool: Pool, outbox: Outbox) -> None:
    async with outbox.transaction() as transaction:
        await transaction.say(numbered(1, 1))
    row = await pool.fetchrow(
        "SELECT type, headers ->> 'ce_type' AS header, convert_from(data, 'UTF8') AS data FROM outbox"
    )
    assert row is not None
    assert (row["type"], row["header"]) == ("stream.started", "stream.started")
    assert json.loads(row["data"])["title"] == "#1"


async def test_one_leads_and_a_standby_takes_over_where_it_left(database: Database, pool: Pool, outbox: Outbox) -> None:
    first, second = Recorder(), Recorder()
    leader = asyncio.create_task(Relay(database.dsn, first, outbox, schema=SCHEMA).run())
    await _say(outbox, 1)
    await until(lambda: len(first.records) == 1, what="the leader's event")
    async with running(Relay(database.dsn, second, Outbox(pool, source=SCHEMA), schema=SCHEMA).run()):
        await _say(outbox, 2)
        await until(lambda: len(first.records) == 2, what="the leader's second event")
        assert second.records == []
        leader.cancel()
        await asyncio.wait({leader})
        await _say(outbox, 3)
        await until(lambda: 3 in by_channel(second.records).get(1, []), what="the standby's event")
    # The leader may have been stopped between an acknowledgement and its cursor: then the standby says 2 again.
    numbers = by_channel([*first.records, *second.records])[1]
    assert list(dict.fromkeys(numbers)) == [1, 2, 3]
    assert numbers in ([1, 2, 3], [1, 2, 2, 3])


async def test_relays_of_two_schemas_do_not_meet(database: Database, outbox: Outbox) -> None:
    streaming, chat = Recorder(), Recorder()
    async with running(
        Relay(database.dsn, streaming, outbox, schema=SCHEMA).run(),
        Relay(database.dsn, chat, outbox, schema="chat").run(),
    ):
        await _say(outbox, 1)
        await until(lambda: len(streaming.records) == 1, what="the event")
        assert chat.records == []


async def test_a_cut_connection_is_replaced_and_events_go_on(database: Database, pool: Pool, outbox: Outbox) -> None:
    published, health = Recorder(), Health()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA, health=health).run()):
        for number in range(1, 4):
            await _say(outbox, number)
            await until(lambda count=number: len(published.records) >= count, what="the event")  # type: ignore[misc]  # bound now
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        await _say(outbox, 4)
        await until(lambda: 4 in by_channel(published.records)[1], what="the last event")
    numbers = by_channel(published.records)[1]
    assert list(dict.fromkeys(numbers)) == [1, 2, 3, 4]


async def test_an_away_bus_is_waited_for_and_readiness_says_so(database: Database, outbox: Outbox) -> None:
    class Away(Recorder):
        away = True

        async def publish(self, records: Sequence[Record]) -> None:
            if self.away:
                raise BusUnavailable("no broker")
            await super().publish(records)

    published, health = Away(), Health()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA, health=health).run()):
        await _say(outbox, 1)

        async def reason_is(wanted: str | None) -> bool:
            return (await health.reasons())[f"relay-{SCHEMA}"] == wanted

        await eventually(lambda: reason_is("the bus is away: no broker"), what="the reason")
        published.away = False
        await until(lambda: len(published.records) == 1, what="the event")
        await eventually(lambda: reason_is(None), what="no reason any more")


async def test_partitions_are_made_ahead_and_dropped_behind_the_cursor(
    database: Database, pool: Pool, outbox: Outbox
) -> None:
    connection = await connect(database.dsn, schema=SCHEMA)
    old = ["outbox_20200101", "outbox_20200102"]
    for name, start in zip(old, ("2020-01-01", "2020-01-02"), strict=True):
        await connection.execute(
            f"CREATE TABLE {name} PARTITION OF outbox"
            f" FOR VALUES FROM ('{start}Z') TO ('{start}Z'::timestamptz + '1 day')"
        )
    await connection.execute(
        "CREATE TABLE inbox_20200106 PARTITION OF inbox FOR VALUES"
        " FROM ('016f7788-2800-0000-0000-000000000000') TO ('016f9b94-f800-0000-0000-000000000000')"
    )
    await _old_event(pool, "2020-01-01 12:00Z")
    unpublished = await _old_event(pool, "2020-01-02 12:00Z")
    await pool.execute("UPDATE outbox_cursor SET id = $1", unpublished - 1)

    await Housekeeping(SCHEMA).when_due(connection)
    names = await _partitions(pool)
    assert "outbox_20200101" not in names, "published and over"
    assert "outbox_20200102" in names, "not published yet"
    assert "inbox_20200106" not in names
    assert sum(name.startswith("outbox_") for name in names) == 5, "today, two days ahead, the default, the old one"
    assert sum(name.startswith("inbox_") for name in names) == 3, "this week, the next, the default"

    await pool.execute("UPDATE outbox_cursor SET id = $1", unpublished)
    await Housekeeping(SCHEMA).when_due(connection)
    assert "outbox_20200102" not in await _partitions(pool)
    await connection.close()


async def test_the_default_partition_takes_what_fits_nowhere_and_is_cleared(database: Database, pool: Pool) -> None:
    connection = await connect(database.dsn, schema=SCHEMA)
    last = await _old_event(pool, "2019-05-05 00:00Z")
    assert await pool.fetchval("SELECT count(*) FROM outbox_default") == 1
    await Housekeeping(SCHEMA).when_due(connection)
    assert await pool.fetchval("SELECT count(*) FROM outbox_default") == 1, "not published yet"
    await pool.execute("UPDATE outbox_cursor SET id = $1", last)
    await Housekeeping(SCHEMA).when_due(connection)
    assert await pool.fetchval("SELECT count(*) FROM outbox_default") == 0
    await connection.close()


async def test_housekeeping_gives_way_to_a_writer(database: Database, pool: Pool, outbox: Outbox) -> None:
    connection = await connect(database.dsn, schema=SCHEMA)
    async with outbox.transaction() as transaction:
        await transaction.say(numbered(1, 1))
        async with asyncio.timeout(10):
            await Housekeeping(SCHEMA).when_due(connection)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1
    await connection.close()


async def test_an_append_never_waits_for_a_partition(pool: Pool, outbox: Outbox) -> None:
    assert await _partitions(pool) == ["inbox_default", "outbox_default"]
    await _say(outbox, 1)
    assert await pool.fetchval("SELECT count(*) FROM outbox_default") == 1


async def test_the_inbox_partition_of_an_event_follows_from_its_id(database: Database, pool: Pool) -> None:
    connection: asyncpg.Connection[asyncpg.Record] = await connect(database.dsn, schema=SCHEMA)
    await Housekeeping(SCHEMA).when_due(connection)
    event_id = await pool.fetchval("SELECT uuid7_floor(now())")
    claimed = await QUERIES.claim_events(pool, consumer="c", event_ids=[event_id, event_id])
    assert [row["event_id"] for row in claimed] == [event_id]
    assert await QUERIES.claim_events(pool, consumer="c", event_ids=[event_id]) == []
    assert len(await QUERIES.claim_events(pool, consumer="d", event_ids=[event_id])) == 1
    where = await pool.fetchval("SELECT tableoid::regclass::text FROM inbox LIMIT 1")
    assert where.startswith("inbox_2")
    assert await pool.fetchval("SELECT drop_old_inbox_partitions($1)", timedelta(days=44)) == 0
    await connection.close()


async def _say(outbox: Outbox, number: int) -> None:
    async with outbox.transaction() as transaction:
        await transaction.say(numbered(1, number))


async def _old_event(pool: Pool, created_at: str) -> int:
    event_id: int = await pool.fetchval(
        "INSERT INTO outbox (event_id, topic, key, type, headers, data, created_at)"
        " VALUES (gen_random_uuid(), 'streams.v1', 'k', 't', '{}', 'd', $1) RETURNING id",
        datetime.fromisoformat(created_at),
    )
    return event_id


async def _partitions(pool: Pool) -> list[str]:
    rows = await pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent IN ('outbox'::regclass, 'inbox'::regclass) ORDER BY 1"
    )
    return [row["name"] for row in rows]
