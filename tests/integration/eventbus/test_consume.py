"""From the commit of one service to the effect in another, on either bus; members that come and go."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from eventbus import bus_configured, bus_postgres
from eventbus.bus import EventBus
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.outbox import Outbox, Transaction
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import DEAD_LETTERS, TOPICS, Envelope, StreamStarted, Topic
from events.topics import STREAMS
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.eventbus.conftest import SCHEMA
from tests.integration.eventbus.saying import numbered, running, until

CHANNELS = 12
GROUP = "streaming-effects"
LONE_EVENTS = 10
TWO_PARTITIONS = (replace(STREAMS, partitions=2), DEAD_LETTERS)


async def note_effect(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    """An effect that shows when it happens twice or out of order."""
    await transaction.connection.execute(
        "INSERT INTO effects (channel, number) VALUES ($1, $2)",
        envelope.event.channel_id.int,
        int(envelope.event.title[1:]),
    )


@pytest.fixture
async def effects(pool: Pool) -> AsyncIterator[Pool]:
    await pool.execute("CREATE TABLE effects (id bigserial, channel integer NOT NULL, number integer NOT NULL)")
    yield pool


def open_bus(settings: BusSettings, topics: Sequence[Topic]) -> AbstractAsyncContextManager[EventBus]:
    """On Kafka the topics are made already; on Postgres they are what the process is told they are."""
    if settings.bus_backend == "postgres":
        return bus_postgres.open_bus(settings, topics=topics)
    return bus_configured.open_bus(settings)


@pytest.fixture(params=["kafka", "postgres"])
async def bus_of_two_partitions(request: pytest.FixtureRequest, database: Database) -> BusSettings:
    if request.param == "postgres":
        return BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)
    settings = BusSettings(
        postgres_dsn=database.dsn,
        kafka_bootstrap_servers=request.getfixturevalue("kafka_bootstrap_servers"),
        kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
    )
    async with open_topics(settings) as topics:
        await topics.make(TWO_PARTITIONS)
    return settings


@asynccontextmanager
async def member(settings: BusSettings, outbox: Outbox, topics: Sequence[Topic] = TOPICS) -> AsyncIterator[ConsumeLoop]:
    """A process of the group: its own bus, its own loop."""
    async with open_bus(settings, topics) as bus:
        loop = ConsumeLoop(bus, outbox, Subscription(GROUP, {StreamStarted: note_effect}))
        async with running(loop.run()):
            yield loop


async def say(outbox: Outbox, numbers: Sequence[int], *, channels: int = CHANNELS) -> None:
    for number in numbers:
        async with outbox.transaction() as transaction:
            await transaction.say(*(numbered(channel, number) for channel in range(channels)))


async def effects_of(pool: Pool) -> dict[int, list[int]]:
    rows = await pool.fetch("SELECT channel, array_agg(number ORDER BY id) AS numbers FROM effects GROUP BY channel")
    return {row["channel"]: list(row["numbers"]) for row in rows}


async def wait_for_effects(pool: Pool, count: int, *, seconds: float = 60.0) -> None:
    found = 0
    try:
        async with asyncio.timeout(seconds):
            while found < count:
                found = await pool.fetchval("SELECT count(*) FROM effects")
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{found} of {count} effects after {seconds:g} s")


async def test_effects_happen_once_in_order_with_their_inbox_rows(
    database: Database, effects: Pool, bus_settings: BusSettings, bus: EventBus, outbox: Outbox
) -> None:
    async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()), member(bus_settings, outbox):
        await say(outbox, range(50))
        await wait_for_effects(effects, 50 * CHANNELS)
    assert await effects_of(effects) == {channel: list(range(50)) for channel in range(CHANNELS)}
    assert await effects.fetchval("SELECT count(*) FROM inbox WHERE consumer = $1", GROUP) == 50 * CHANNELS


async def test_what_is_delivered_again_has_no_second_effect(
    database: Database, effects: Pool, bus_settings: BusSettings, bus: EventBus, outbox: Outbox
) -> None:
    async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()):
        async with member(bus_settings, outbox):
            await say(outbox, range(10))
            await wait_for_effects(effects, 10 * CHANNELS)
        # The relay forgets where it was and publishes everything again; a group on Postgres forgets as well.
        await effects.execute("UPDATE outbox_cursor SET id = 0")
        await effects.execute("UPDATE bus.group_cursor SET next_offset = 0")
    async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()), member(bus_settings, outbox):
        await say(outbox, [10])
        await wait_for_effects(effects, 11 * CHANNELS)
    assert await effects_of(effects) == {channel: list(range(11)) for channel in range(CHANNELS)}


@pytest.mark.heavy  # milliseconds are counted
async def test_one_event_a_second_arrives_at_once(
    database: Database, bus_settings: BusSettings, bus: EventBus, outbox: Outbox
) -> None:
    committed: dict[UUID, float] = {}
    seconds: list[float] = []

    async def note_time(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        seconds.append(time.perf_counter() - committed[envelope.event.stream_id])

    loop = ConsumeLoop(bus, outbox, Subscription("streaming-latency", {StreamStarted: note_time}))
    async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run(), loop.run()):
        await until(lambda: bool(loop.partitions), what="the loop has its partitions")
        for number in range(LONE_EVENTS):
            event = numbered(number, number)
            async with outbox.transaction() as transaction:
                await transaction.say(event)
                committed[event.stream_id] = time.perf_counter()  # before the commit, so no luck is involved
            await until(lambda count=number: len(seconds) > count, what="the event")  # type: ignore[misc]  # bound now
            await asyncio.sleep(1.0)  # the rate is what is tested: nothing may wait for company
    # The median: other work on a shared machine may take some; what waits for company makes all of them late.
    assert sorted(seconds)[LONE_EVENTS // 2] < 0.1, sorted(seconds)


async def test_members_come_and_go_without_loss_or_double_effect(
    database: Database, effects: Pool, bus_settings: BusSettings, bus: EventBus, outbox: Outbox
) -> None:
    rounds = range(60)

    async def speak() -> None:
        for number in rounds:
            await say(outbox, [number])
            await asyncio.sleep(0.05)

    async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()), member(bus_settings, outbox) as first:
        speaking = asyncio.create_task(speak())
        async with member(bus_settings, outbox) as second:
            await until(lambda: len(first.partitions) == len(second.partitions) == 3, what="three partitions each")
            await wait_for_effects(effects, 10 * CHANNELS)
        await until(lambda: len(first.partitions) == 6, what="the leaver's partitions at the one that stays")
        async with member(bus_settings, outbox) as third:
            await until(lambda: len(third.partitions) == 3, what="a newcomer's share")
            await speaking
            await wait_for_effects(effects, len(rounds) * CHANNELS)
    assert await effects_of(effects) == {channel: list(rounds) for channel in range(CHANNELS)}


async def test_a_member_without_partitions_works_once_another_leaves(
    database: Database,
    effects: Pool,
    bus_of_two_partitions: BusSettings,
    outbox: Outbox,
) -> None:
    settings = bus_of_two_partitions
    async with (
        open_bus(settings, TWO_PARTITIONS) as bus,
        running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()),
        AsyncExitStack() as stay,
        AsyncExitStack() as leave,
    ):
        working = [await leave.enter_async_context(member(settings, outbox, TWO_PARTITIONS)) for _ in range(2)]
        await until(lambda: all(len(one.partitions) == 1 for one in working), what="a partition each")
        third = await stay.enter_async_context(member(settings, outbox, TWO_PARTITIONS))
        everybody = [*working, third]
        await until(lambda: sorted(len(one.partitions) for one in everybody) == [0, 1, 1], what="one stands by")
        await say(outbox, [0])
        await wait_for_effects(effects, CHANNELS)
        await leave.aclose()
        await until(lambda: len(third.partitions) == 2, what="the one that stays has both")
        await say(outbox, [1])
        await wait_for_effects(effects, 2 * CHANNELS)
    assert await effects_of(effects) == {channel: [0, 1] for channel in range(CHANNELS)}
