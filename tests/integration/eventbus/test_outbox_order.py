"""The relay against many writers: nothing lost, nothing invented, the order of every aggregate kept."""

import asyncio
import random
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

from eventbus.outbox import Outbox
from eventbus.relay import Relay
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.eventbus.conftest import SCHEMA
from tests.integration.eventbus.saying import Recorder, by_channel, number_of, numbered, running, until

WRITERS = 24
TRANSACTIONS_PER_WRITER = 40
CHANNELS = 30
SEED = 20


class RollBack(Exception):
    """A writer that changes its mind."""


@dataclass
class Writers:
    """Writers that lock a channel, count it up, say so, and linger before the commit."""

    pool: Pool
    outbox: Outbox
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    committed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    rolled_back: int = 0

    async def prepare(self) -> None:
        await self.pool.execute("CREATE TABLE counters (channel integer PRIMARY KEY, number integer NOT NULL)")
        await self.pool.execute("CREATE TABLE scribbles (number integer)")
        await self.pool.execute("INSERT INTO counters SELECT n, 0 FROM generate_series(1, $1) AS n", CHANNELS)

    async def run(self) -> None:
        gate = asyncio.Semaphore(20)
        await asyncio.gather(*(self._write(gate) for _ in range(WRITERS)))

    async def _write(self, gate: asyncio.Semaphore) -> None:
        for _ in range(TRANSACTIONS_PER_WRITER):
            async with gate:
                with suppress(RollBack):
                    await self._transaction()

    async def _transaction(self) -> None:
        # Ascending, so that two writers never wait for each other.
        channels = sorted(self.chance.sample(range(1, CHANNELS + 1), self.chance.choice([1, 1, 2])))
        said = []
        async with self.outbox.transaction() as transaction:
            if self.chance.random() < 0.5:  # has a transaction id long before it holds a channel
                await transaction.connection.execute("INSERT INTO scribbles VALUES (1)")
                await self._linger()
            for channel in channels:
                number = await transaction.connection.fetchval(
                    "UPDATE counters SET number = number + 1 WHERE channel = $1 RETURNING number", channel
                )
                await transaction.say(numbered(channel, number))
                said.append((channel, number))
            await self._linger()
            if self.chance.random() < 0.1:
                self.rolled_back += 1
                raise RollBack
        for channel, number in said:
            self.committed[channel].append(number)

    async def _linger(self) -> None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.01, 0.05]))

    def complete(self) -> dict[int, list[int]]:
        return {channel: sorted(numbers) for channel, numbers in self.committed.items()}

    @property
    def events(self) -> int:
        return sum(map(len, self.committed.values()))


async def test_many_writers_lose_nothing_invent_nothing_and_keep_the_order(
    database: Database, pool: Pool, outbox: Outbox
) -> None:
    writers = Writers(pool, outbox)
    await writers.prepare()
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        await writers.run()
        assert writers.rolled_back > 10
        await until(lambda: len(published.records) >= writers.events, what="everything is published")
    # The numbers of a channel are counted under its lock: their order is the order of the facts.
    assert by_channel(published.records) == writers.complete()


async def test_a_cursor_on_the_last_id_seen_would_lose_some(pool: Pool, outbox: Outbox) -> None:
    """The same writers with the obvious relay; it shows that the test above can fail."""
    writers = Writers(pool, outbox)
    await writers.prepare()
    seen: list[int] = []

    async def naive() -> None:
        last = 0
        while True:
            rows = await pool.fetch("SELECT id FROM outbox WHERE id > $1 ORDER BY id LIMIT 1000", last)
            seen.extend(row["id"] for row in rows)
            last = seen[-1] if seen else 0
            await asyncio.sleep(0.002)

    async with running(naive()):
        await writers.run()
        await asyncio.sleep(0.2)  # for what is visible now; what was passed over never comes
    assert len(seen) < writers.events


async def test_a_transaction_that_began_early_and_spoke_late_comes_after_the_one_before_it(
    database: Database, pool: Pool, outbox: Outbox
) -> None:
    """Why the order is that of the event ids, not of the transactions' ids: `late` has the smaller transaction id."""
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()), pool.acquire() as open_one:
        async with outbox.transaction() as late:
            await late.connection.execute("CREATE TABLE early (n integer)")
            holding = open_one.transaction()
            await holding.start()
            await open_one.execute("SELECT pg_current_xact_id()")
            async with outbox.transaction() as first:
                await first.say(numbered(1, 1))
            await late.say(numbered(1, 2))
        await until(lambda: len(published.records) == 2, what="both, although a third transaction is open")
        await holding.rollback()
    assert [number_of(record) for record in published.records] == [(1, 1), (1, 2)]


async def test_an_event_waits_for_an_elder_that_is_still_open(database: Database, pool: Pool, outbox: Outbox) -> None:
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        async with outbox.transaction() as elder:
            await elder.say(numbered(1, 1))
            async with outbox.transaction() as younger:
                await younger.say(numbered(2, 1))
            await asyncio.sleep(0.3)  # many polls, in which nothing may go out
            assert published.records == []
        await until(lambda: len(published.records) == 2, what="both")
    assert [number_of(record) for record in published.records] == [(1, 1), (2, 1)]


async def test_what_was_rolled_back_holds_nothing_up(database: Database, outbox: Outbox) -> None:
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        for number in range(1, 31):
            with suppress(RollBack):
                async with outbox.transaction() as undone:
                    await undone.say(*(numbered(9, n) for n in range(50)))
                    raise RollBack
            async with outbox.transaction() as transaction:
                await transaction.say(numbered(1, number))
        await until(lambda: len(published.records) == 30, what="all that committed")
    assert by_channel(published.records) == {1: list(range(1, 31))}


async def test_order_holds_where_ids_gain_a_digit(database: Database, pool: Pool, outbox: Outbox) -> None:
    await pool.execute("SELECT setval('outbox_id', 97)")
    await pool.execute("UPDATE outbox_cursor SET id = 97")
    async with outbox.transaction() as transaction:
        await transaction.say(*(numbered(1, number) for number in range(1, 6)))
    published = Recorder()
    async with running(Relay(database.dsn, published, outbox, schema=SCHEMA).run()):
        await until(lambda: len(published.records) == 5, what="ids 98 to 102")
    assert by_channel(published.records) == {1: [1, 2, 3, 4, 5]}
