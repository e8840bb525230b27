"""What every bus does: the same suite over Kafka, over Postgres and over the twin in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from eventbus import bus_kafka, bus_postgres
from eventbus.bus import (
    BusUnavailable,
    CommitRefused,
    Consumer,
    EventBus,
    Message,
    Partition,
    Record,
    RecordRefused,
    UnknownTopic,
)
from eventbus.bus_memory import MemoryBus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings, KafkaSettings
from eventbus.topics_kafka import open_topics
from events import Topic
from runtime.postgres import open_pool
from tests.engines import Database
from tests.integration.eventbus.saying import running

SINGLE = "single.v1"
SHARED = "shared.v1"
PARTITIONS = {SINGLE: 1, SHARED: 4}
PRODUCERS = {SINGLE: "nobody in particular", SHARED: "streaming"}
DEADLINE_SECONDS = 30.0


@pytest.fixture(params=["memory", "kafka", "postgres"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[EventBus]:
    topics = [_topic(name, partitions) for name, partitions in PARTITIONS.items()]
    if request.param == "memory":
        yield MemoryBus(PARTITIONS)
        return
    if request.param == "postgres":
        async with _postgres_bus(request.getfixturevalue("database"), topics) as postgres:
            yield postgres
        return
    settings = KafkaSettings(
        kafka_bootstrap_servers=request.getfixturevalue("kafka_bootstrap_servers"),
        kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
    )
    async with open_topics(settings) as there:
        await there.make(topics)
    async with bus_kafka.open_bus(settings) as kafka:
        yield kafka


@asynccontextmanager
async def _postgres_bus(database: Database, topics: Sequence[Topic]) -> AsyncIterator[EventBus]:
    """One topic's log is a service's outbox, with the service's relay; the other's is the bus's own."""
    settings = BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)
    async with (
        open_pool(settings, schema=PRODUCERS[SHARED]) as pool,
        bus_postgres.open_bus(settings, topics=topics) as bus,
    ):
        outbox = Outbox(pool, source=PRODUCERS[SHARED])
        async with running(bus.relay(database.dsn, outbox, schema=PRODUCERS[SHARED]).run()):
            yield bus


def _topic(name: str, partitions: int) -> Topic:
    return Topic(
        name=name,
        key="any",
        partitions=partitions,
        retention=timedelta(hours=1),
        producer=PRODUCERS[name],
        consumers=(),
        events=(),
    )


class Listener:
    """Notes what comes and goes; commits what it is given on revocation, as a real one does."""

    def __init__(self) -> None:
        self.held: set[Partition] = set()
        self.revoked: list[frozenset[Partition]] = []
        self.changed = asyncio.Event()
        self.consumer: Consumer | None = None
        self.to_commit: dict[Partition, int] = {}

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        due = {place: offset for place, offset in self.to_commit.items() if place in partitions}
        if due and self.consumer is not None:
            await self.consumer.commit(due)
        self.revoked.append(partitions)
        self.held -= partitions

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        self.held |= partitions
        self.changed.set()


@asynccontextmanager
async def member(bus: EventBus, group: str, topic: str = SHARED) -> AsyncIterator[tuple[Consumer, Listener]]:
    listener = Listener()
    async with bus.consumer(group, [topic], listener) as consumer:
        listener.consumer = consumer
        yield consumer, listener


async def collect(consumer: Consumer, count: int) -> list[Message]:
    """Fetch until `count` messages are there."""
    messages: list[Message] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(messages) < count:
            for batch in (await consumer.fetch(timeout_seconds=0.5)).values():
                messages.extend(batch)
    return messages


@asynccontextmanager
async def polling(*consumers: Consumer) -> AsyncIterator[dict[Partition, list[Message]]]:
    """Keep fetching from several members, as their loops do."""
    seen: dict[Partition, list[Message]] = defaultdict(list)

    async def poll(consumer: Consumer) -> None:
        while True:
            for place, batch in (await consumer.fetch(timeout_seconds=0.2)).items():
                seen[place].extend(batch)

    tasks = [asyncio.create_task(poll(consumer)) for consumer in consumers]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], bool], *, what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"did not come about: {what}")


def records(count: int, *, topic: str = SHARED, keys: int = 7) -> list[Record]:
    return [
        Record(topic, f"key-{number % keys}".encode(), str(number).encode(), (("n", str(number).encode()),))
        for number in range(count)
    ]


async def test_what_is_published_arrives_whole(bus: EventBus) -> None:
    sent = Record(SINGLE, b"key", b"\x00\xff value", (("one", b"1"), ("two", b"\xfe"), ("one", b"again")))
    async with member(bus, "whole", SINGLE) as (consumer, _):
        await bus.publish([sent])
        [got] = await collect(consumer, 1)
    assert (got.topic, got.key, got.value, tuple(got.headers)) == tuple(sent)
    assert got.partition == 0
    assert got.offset >= 0
    assert got.timestamp_ms > 1_700_000_000_000


async def test_records_of_one_key_share_a_partition_and_keep_their_order(bus: EventBus) -> None:
    for part in range(5):
        await bus.publish([record for record in records(500) if int(record.value or b"") // 100 == part])
    async with member(bus, "order") as (consumer, _):
        messages = await collect(consumer, 500)
    by_key: dict[bytes | None, list[Message]] = defaultdict(list)
    for message in messages:
        by_key[message.key].append(message)
    assert len(by_key) == 7
    for of_key in by_key.values():
        assert len({message.partition for message in of_key}) == 1
        numbers = [int(message.value or b"") for message in of_key]
        assert numbers == sorted(numbers)
    assert len({message.partition for message in messages}) > 1


async def test_a_new_group_starts_at_the_beginning_and_an_old_one_after_its_commit(bus: EventBus) -> None:
    await bus.publish(records(10, topic=SINGLE))
    place = Partition(SINGLE, 0)
    async with member(bus, "commits", SINGLE) as (consumer, _):
        first = await collect(consumer, 10)
        await consumer.commit({place: first[5].offset + 1})
    async with member(bus, "commits", SINGLE) as (consumer, _):
        again = await collect(consumer, 4)
    assert [message.value for message in again] == [b"6", b"7", b"8", b"9"]
    async with member(bus, "another", SINGLE) as (consumer, _):
        assert len(await collect(consumer, 10)) == 10


async def test_groups_do_not_take_from_each_other(bus: EventBus) -> None:
    async with member(bus, "left", SINGLE) as (left, _), member(bus, "right", SINGLE) as (right, _):
        await bus.publish(records(20, topic=SINGLE))
        for consumer in (left, right):
            assert len(await collect(consumer, 20)) == 20


async def test_members_share_partitions_and_a_leaver_hands_its_own_over(bus: EventBus) -> None:
    everything = {Partition(SHARED, number) for number in range(4)}
    async with member(bus, "team") as (first, first_listener):
        async with member(bus, "team") as (second, second_listener):
            async with polling(first, second):
                await until(
                    lambda: (
                        len(first_listener.held) == 2
                        and len(second_listener.held) == 2
                        and first_listener.held | second_listener.held == everything
                    ),
                    what="two partitions each",
                )
            assert not first_listener.held & second_listener.held
        async with polling(first) as seen:
            await until(lambda: first_listener.held == everything, what="all partitions at the one that stays")
            await bus.publish(records(40))
            await until(lambda: sum(map(len, seen.values())) == 40, what="all messages")


async def test_what_was_committed_on_revocation_is_not_delivered_again(bus: EventBus) -> None:
    await bus.publish(records(40))
    async with member(bus, "handover") as (first, first_listener):
        messages = await collect(first, 40)
        ends: dict[Partition, int] = {}
        for message in messages:
            ends[message.place] = message.offset + 1
        first_listener.to_commit = ends
        async with member(bus, "handover") as (second, second_listener), polling(first, second) as seen:
            await until(lambda: len(second_listener.held) == 2, what="the newcomer has its share")
            await bus.publish(records(8))
            await until(lambda: sum(map(len, seen.values())) >= 8, what="the new messages")
            assert sum(map(len, seen.values())) == 8


async def test_a_commit_for_a_partition_of_somebody_else_is_refused(bus: EventBus) -> None:
    async with member(bus, "refusal", SINGLE) as (consumer, _):
        with pytest.raises(CommitRefused):
            await consumer.commit({Partition(SHARED, 0): 1})


async def test_a_paused_partition_is_left_out_until_it_is_resumed(bus: EventBus) -> None:
    await bus.publish(records(40))
    async with member(bus, "pause") as (consumer, listener):
        await until(lambda: len(listener.held) == 4, what="assignment")
        messages = await collect(consumer, 40)
        busiest = max(listener.held, key=lambda place: sum(message.place == place for message in messages))
        consumer.pause(busiest)
        await bus.publish(records(40))
        expected = sum(message.place != busiest for message in messages)
        others = await collect(consumer, expected)
        assert all(message.place != busiest for message in others)
        assert await consumer.fetch(timeout_seconds=0.3) == {}
        consumer.resume(busiest)
        assert {message.place for message in await collect(consumer, 40 - expected)} == {busiest}


async def test_a_fetch_of_nothing_comes_back_after_its_timeout(bus: EventBus) -> None:
    async with member(bus, "nothing", SINGLE) as (consumer, _):
        started = asyncio.get_running_loop().time()
        assert await consumer.fetch(timeout_seconds=0.3) == {}
        assert asyncio.get_running_loop().time() - started < DEADLINE_SECONDS / 2


async def test_unread_counts_what_was_not_fetched(bus: EventBus) -> None:
    await bus.publish(records(12, topic=SINGLE))
    async with member(bus, "unread", SINGLE) as (consumer, _):
        await collect(consumer, 12)
        assert await consumer.unread() == {Partition(SINGLE, 0): 0}
        consumer.pause(Partition(SINGLE, 0))
        await bus.publish(records(3, topic=SINGLE))
        async with asyncio.timeout(DEADLINE_SECONDS):  # a record may be acknowledged a moment before it is readable
            while await consumer.unread() == {Partition(SINGLE, 0): 0}:  # noqa: ASYNC110  the count has no event
                await asyncio.sleep(0.01)
        assert await consumer.unread() == {Partition(SINGLE, 0): 3}


async def test_a_large_batch_is_published_in_order(bus: EventBus) -> None:
    await bus.publish(
        [Record(SINGLE, b"k", str(number).encode() + b" " * 20_000) for number in range(200)]
    )  # about 4 MB: several batches of the broker's size
    async with member(bus, "large", SINGLE) as (consumer, _):
        assert [int(message.value or b"") for message in await collect(consumer, 200)] == list(range(200))


async def test_an_unknown_topic_says_so(bus: EventBus) -> None:
    with pytest.raises(UnknownTopic) as raised:
        await bus.publish([Record("nowhere.v1", b"k", b"v")])
    assert raised.value.topic == "nowhere.v1"
    await bus.publish(records(1, topic=SINGLE))


async def test_a_record_beyond_every_limit_is_refused_and_the_next_one_goes_through(bus: EventBus) -> None:
    with pytest.raises(RecordRefused):
        await bus.publish([Record(SINGLE, b"k", b"x" * 2_000_000)])
    await bus.publish(records(1, topic=SINGLE))
    assert [message.value async for message in bus.read(SINGLE)] == [b"0"]


async def test_reading_ends_at_the_end_and_can_start_anywhere(bus: EventBus) -> None:
    assert await _values(bus, SHARED) == []
    await bus.publish(records(30))
    assert {int(value or b"") for value in await _values(bus, SHARED)} == set(range(30))
    await bus.publish(records(30, topic=SINGLE))
    offsets = [message.offset async for message in bus.read(SINGLE)]
    assert offsets == sorted(set(offsets)), "they ascend; holes are allowed"
    assert [m.value async for m in bus.read(SINGLE, start={0: offsets[28]})] == [b"28", b"29"]


async def _values(bus: EventBus, topic: str) -> Sequence[bytes | None]:
    return [message.value async for message in bus.read(topic)]


async def test_a_bus_that_is_there_answers(bus: EventBus) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with suppress(BusUnavailable):  # two seconds are little where everything is busy
                await bus.check()
                return
            await asyncio.sleep(0.1)
