"""What the bus on Postgres does beyond the suite of every bus: order under writers, ownership, cursors, growing out."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from zlib import crc32

import asyncpg
import pytest

from eventbus import bus_postgres
from eventbus.bus import BusUnavailable, CommitRefused, Consumer, EventBus, Message, Partition, Record
from eventbus.bus_postgres import PostgresBus
from eventbus.group_session import Peer
from eventbus.outbox import Outbox
from eventbus.postgres_consumer import share_of
from eventbus.relay import Relay
from eventbus.settings import BusSettings
from events import DEAD_LETTERS
from events.topics import ACCOUNTS, FANOUT_PAGES, STREAMS
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.eventbus.conftest import SCHEMA
from tests.integration.eventbus.saying import Recorder, by_channel, eventually, numbered, running, until
from tests.integration.eventbus.test_outbox_order import Writers

GROUP = "test-group"


class Listener:
    """Notes what is held."""

    def __init__(self) -> None:
        self.held: set[Partition] = set()

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        self.held -= partitions

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        self.held |= partitions


@pytest.fixture
def settings(database: Database) -> BusSettings:
    return BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)


@pytest.fixture
async def postgres_bus(settings: BusSettings) -> AsyncIterator[EventBus]:
    async with bus_postgres.open_bus(settings) as bus:
        yield bus


@asynccontextmanager
async def impatient_bus(database: Database) -> AsyncIterator[PostgresBus]:
    """A bus whose readers wait for less long than production's do."""
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=4)
    async with open_pool(settings, schema="bus") as pool:
        bus = PostgresBus(pool, database.dsn, read_wait_seconds_max=0.3)
        try:
            await bus.start()
            yield bus
        finally:
            await bus.close()


async def collect(consumer: Consumer, seen: list[Message]) -> None:
    while True:
        for batch in (await consumer.fetch(timeout_seconds=0.5)).values():
            seen.extend(batch)


async def say(outbox: Outbox, numbers: Sequence[int], *, channels: int = 8) -> None:
    for number in numbers:
        async with outbox.transaction() as transaction:
            await transaction.say(*(numbered(channel, number) for channel in range(channels)))


async def cursors(pool: Pool) -> Mapping[int, int]:
    rows = await pool.fetch("SELECT partition, next_offset FROM bus.group_cursor WHERE group_name = $1", GROUP)
    return {row["partition"]: row["next_offset"] for row in rows}


async def test_a_consumer_hears_many_writers_in_order_and_misses_nothing(
    database: Database, pool: Pool, outbox: Outbox, postgres_bus: EventBus
) -> None:
    writers = Writers(pool, outbox)
    await writers.prepare()
    seen: list[Message] = []
    async with (
        running(postgres_bus.relay(database.dsn, outbox, schema=SCHEMA).run()),
        postgres_bus.consumer(GROUP, [STREAMS.name], Listener()) as consumer,
        running(collect(consumer, seen)),
    ):
        await writers.run()
        assert writers.rolled_back > 10
        await until(lambda: len(seen) >= writers.events, what="every event")
    assert by_channel(seen) == writers.complete()  # type: ignore[arg-type]  # a record with a place


async def test_what_is_appended_from_outside_takes_the_ids_of_its_own_schema(
    pool: Pool, outbox: Outbox, postgres_bus: EventBus
) -> None:
    await say(outbox, [0], channels=3)
    await postgres_bus.publish([Record(STREAMS.name, b"k", b"v"), Record(DEAD_LETTERS.name, None, None)])
    assert [row["id"] for row in await pool.fetch("SELECT id FROM streaming.outbox ORDER BY id")] == [1, 2, 3, 4]
    assert [row["id"] for row in await pool.fetch("SELECT id FROM bus.outbox")] == [1]


async def test_a_silent_member_loses_its_partitions_and_cannot_commit(
    database: Database, pool: Pool, postgres_bus: EventBus
) -> None:
    silent_listener, listener, seen = Listener(), Listener(), list[Message]()
    async with (
        impatient_bus(database) as other,
        postgres_bus.consumer(GROUP, [ACCOUNTS.name], silent_listener) as silent,
    ):
        assert len(silent_listener.held) == ACCOUNTS.partitions
        # As a frozen process leaves it: its session is there, and it was not heard of for too long.
        await pool.execute("UPDATE bus.group_member SET silence_max = '0 s'")
        async with other.consumer(GROUP, [ACCOUNTS.name], listener) as taker, running(collect(taker, seen)):
            await until(lambda: len(listener.held) == ACCOUNTS.partitions, what="the living one has all")
            with pytest.raises((CommitRefused, BusUnavailable)):
                await silent.commit({Partition(ACCOUNTS.name, 0): 7})
            assert (await cursors(pool))[0] != 7


async def test_a_lost_session_is_told_and_the_group_can_be_joined_again(
    database: Database, pool: Pool, postgres_bus: EventBus
) -> None:
    listener = Listener()
    with pytest.raises(BusUnavailable):
        async with postgres_bus.consumer(GROUP, [ACCOUNTS.name], listener) as consumer:
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            for _ in range(20):
                await consumer.fetch(timeout_seconds=0.5)
    again = Listener()
    async with (
        postgres_bus.consumer(GROUP, [ACCOUNTS.name], again) as joined,
        running(collect(joined, [])),
    ):
        # The lock of the lost session falls a moment after its client hears of the end.
        await until(lambda: len(again.held) == ACCOUNTS.partitions, what="all is taken")
        await postgres_bus.check()


async def test_cursors_move_on_where_nothing_came_but_not_past_what_is_uncommitted(
    database: Database, pool: Pool, outbox: Outbox, postgres_bus: EventBus
) -> None:
    listener, seen = Listener(), list[Message]()
    async with (
        running(postgres_bus.relay(database.dsn, outbox, schema=SCHEMA).run()),
        postgres_bus.consumer(GROUP, [STREAMS.name], listener) as consumer,
        running(collect(consumer, seen)),
    ):
        await say(outbox, range(5), channels=1)
        await until(lambda: len(seen) == 5, what="the events")
        busy, last_id = seen[0].partition, seen[-1].offset

        async def idle_moved() -> bool:
            stored = await cursors(pool)
            return all(stored[number] == last_id + 1 for number in range(STREAMS.partitions) if number != busy)

        await eventually(idle_moved, what="the cursors of partitions without events")
        assert (await cursors(pool))[busy] <= seen[0].offset, "handed out, and nobody has said that it is done"
        await consumer.commit({Partition(STREAMS.name, busy): seen[2].offset + 1})
        assert (await cursors(pool))[busy] == seen[2].offset + 1


async def test_a_paused_partition_catches_up_and_nothing_comes_twice(
    database: Database, outbox: Outbox, postgres_bus: EventBus
) -> None:
    listener, seen = Listener(), list[Message]()
    async with (
        running(postgres_bus.relay(database.dsn, outbox, schema=SCHEMA).run()),
        postgres_bus.consumer(GROUP, [STREAMS.name], listener) as consumer,
        running(collect(consumer, seen)),
    ):
        await say(outbox, [0])
        await until(lambda: len(seen) == 8, what="the first round")
        paused = seen[0].place
        waiting = sum(message.place == paused for message in seen)
        consumer.pause(paused)
        await say(outbox, range(1, 301))
        await until(lambda: len(seen) == 8 + 300 * (8 - waiting), what="those of the other partitions")
        assert sum((await consumer.unread()).values()) == 300 * waiting
        consumer.resume(paused)
        await until(lambda: len(seen) == 8 * 301, what="those that waited")
    assert by_channel(seen) == {channel: list(range(301)) for channel in range(8)}  # type: ignore[arg-type]  # a record with a place


async def test_what_is_for_other_partitions_is_passed_over_without_waiting(
    database: Database, pool: Pool, outbox: Outbox, postgres_bus: EventBus
) -> None:
    listener = Listener()
    async with postgres_bus.consumer(GROUP, [STREAMS.name], listener) as consumer:
        await pool.execute(
            "INSERT INTO outbox (topic, key, headers, data) SELECT $1, 'k', '{}', 'd' FROM generate_series(1, 20000)",
            STREAMS.name,
        )
        consumer.pause(Partition(STREAMS.name, crc32(b"k") % STREAMS.partitions))
        other = next(key for key in (b"a", b"b", b"c", b"d") if (crc32(key) - crc32(b"k")) % STREAMS.partitions)
        await postgres_bus.publish([Record(STREAMS.name, other, b"the last")])
        async with running(postgres_bus.relay(database.dsn, outbox, schema=SCHEMA).run()), asyncio.timeout(15):
            [[message]] = (await consumer.fetch(timeout_seconds=60)).values()
    assert message.value == b"the last"


async def test_a_relay_to_a_broker_goes_on_from_the_cursor(
    database: Database, outbox: Outbox, postgres_bus: EventBus
) -> None:
    """Growing out: what was said under Postgres is not said again to the broker, what is said from then on is."""
    seen: list[Message] = []
    async with (
        running(postgres_bus.relay(database.dsn, outbox, schema=SCHEMA).run()),
        postgres_bus.consumer(GROUP, [STREAMS.name], Listener()) as consumer,
        running(collect(consumer, seen)),
    ):
        await say(outbox, range(3), channels=1)
        await until(lambda: len(seen) == 3, what="the events on Postgres")
    await say(outbox, range(3, 6), channels=1)
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        await until(lambda: len(published.records) == 3, what="the events for the broker")
    assert by_channel(published.records) == {0: [3, 4, 5]}


async def test_a_part_of_the_bus_that_fails_shows(database: Database, pool: Pool) -> None:
    async with impatient_bus(database) as bus:
        await bus.check()
        async with bus.consumer(GROUP, [ACCOUNTS.name], Listener()) as consumer:
            # The relay of the dead letters meets a table that nobody foresaw.
            await pool.execute("ALTER TABLE bus.outbox_cursor RENAME COLUMN id TO lost")
            async with asyncio.timeout(20):
                with pytest.raises(asyncpg.UndefinedColumnError):
                    while True:
                        await consumer.fetch(timeout_seconds=0.1)
            with pytest.raises(asyncpg.UndefinedColumnError):
                await bus.check()


async def test_reading_says_when_a_log_is_not_readable_to_its_end(database: Database, outbox: Outbox) -> None:
    await say(outbox, [0])
    async with impatient_bus(database) as bus:
        with pytest.raises(BusUnavailable, match="its relay does not run"):
            assert [message async for message in bus.read(STREAMS.name)]


@pytest.mark.parametrize("members", [1, 2, 3, 5, 20])
def test_shares_are_disjoint_complete_and_even(members: int) -> None:
    partitions = {FANOUT_PAGES.name: 12, STREAMS.name: 6}
    peers = [Peer(number, frozenset(partitions)) for number in range(10, 10 + members)]
    shares = [share_of(peer.member_id, peers, partitions) for peer in peers]
    everything = [place for share in shares for place in share]
    assert len(everything) == len(set(everything)) == 18
    for topic, count in partitions.items():
        sizes = [sum(place.topic == topic for place in share) for share in shares]
        assert max(sizes) - min(sizes) <= 1, (topic, count)


def test_a_member_shares_only_what_it_listens_to() -> None:
    partitions = {ACCOUNTS.name: 3, STREAMS.name: 6}
    peers = [Peer(1, frozenset({STREAMS.name})), Peer(2, frozenset(partitions))]
    assert {place.topic for place in share_of(2, peers, partitions)} == set(partitions)
    assert sum(place.topic == ACCOUNTS.name for place in share_of(2, peers, partitions)) == 3
    assert share_of(3, peers, partitions) == frozenset(), "who is not among the living has nothing"
