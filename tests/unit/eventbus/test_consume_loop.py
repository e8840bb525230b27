"""What the consume loop does with messages, partitions and standstill, on the twins in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest

from eventbus.bus import (
    BusUnavailable,
    Consumer,
    Headers,
    Partition,
    RebalanceListener,
    Record,
)
from eventbus.bus_memory import MemoryBus
from eventbus.consume import ConsumeLoop, ConsumerStuck
from eventbus.dead_letters import DeadLetters
from events import DEAD_LETTERS, Envelope, Event, StreamStarted
from runtime.ids import uuid7
from tests.unit.eventbus.scene import (
    DEADLINE_SECONDS,
    TOPIC,
    Scene,
    is_unready,
    record_of,
    registered,
    until,
    with_header,
)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_messages_are_applied_in_order_and_committed(scene: Scene) -> None:
    await scene.say(*(record_of(registered(f"u{number}")) for number in range(500)))
    async with scene.consuming():
        await until(lambda: scene.committed() == 500)
    assert scene.names == [f"u{number}" for number in range(500)]


async def test_a_message_that_comes_twice_takes_effect_once(scene: Scene) -> None:
    one, two = record_of(registered("one")), record_of(registered("two"))
    await scene.say(one, one, two, one)
    async with scene.consuming():
        await until(lambda: scene.committed() == 4)
        await scene.say(two)
        await until(lambda: scene.committed() == 5)
    assert scene.names == ["one", "two"]


async def test_the_handler_continues_the_trace_of_the_event(scene: Scene) -> None:
    await scene.say(record_of(registered("traced")))
    async with scene.consuming():
        await until(lambda: scene.committed() == 1)
    assert scene.trace_ids == ["0af7651916cd43dd8448eb211c80319c"]


async def test_poison_is_set_aside_at_once_and_the_partition_moves_on(scene: Scene) -> None:
    good = record_of(registered("good"))
    bad = good._replace(value=b"\xff{")
    await scene.say(bad, good)
    async with scene.consuming():
        await until(lambda: scene.committed() == 2)
    assert scene.names == ["good"]
    [letter] = await DeadLetters(scene.bus).all()
    assert (letter.value, letter.key, letter.headers) == (b"\xff{", b"one key", bad.headers)
    assert (letter.group, letter.topic, letter.offset) == ("chat-accounts", TOPIC, 0)
    assert (letter.error, letter.attempts) == ("UndecodableEvent", 1)
    assert letter.type == "account.registered"
    assert abs((datetime.now(UTC) - letter.at).total_seconds()) < 60


@pytest.mark.parametrize("headers", [(), (("ce_type", b"\xfe"),), (("unrelated", b"1"),)])
async def test_a_message_without_the_envelope_is_set_aside(scene: Scene, headers: Headers) -> None:
    await scene.say(Record(TOPIC, None, None, headers), record_of(registered("good")))
    async with scene.consuming():
        await until(lambda: scene.committed() == 2)
    assert scene.names == ["good"]
    assert len(await scene.dead(1)) == 1


async def test_an_unknown_type_is_set_aside(scene: Scene) -> None:
    await scene.say(with_header(record_of(registered("x")), "ce_type", b"account.abducted"))
    async with scene.consuming():
        await scene.dead(1)
        await until(lambda: scene.committed() == 1)
    [letter] = await DeadLetters(scene.bus).all()
    assert (letter.error, letter.type) == ("UnknownEventType", "account.abducted")


async def test_a_known_type_without_a_handler_is_skipped(scene: Scene) -> None:
    now = datetime.now(UTC)
    started = StreamStarted(stream_id=uuid7(), channel_id=uuid7(), channel_name="c", title="t", started_at=now)
    other: Envelope[Event] = Envelope(id=uuid7(), source="streaming", time=now, event=started)
    await scene.say(record_of(other)._replace(topic=TOPIC), record_of(registered("good")))
    async with scene.consuming():
        await until(lambda: scene.committed() == 2)
    assert scene.names == ["good"]
    assert not scene.bus.log_of(Partition(DEAD_LETTERS.name, 0))


async def test_a_field_of_the_future_is_ignored(scene: Scene) -> None:
    record = record_of(registered("future"))
    assert record.value is not None
    await scene.say(record._replace(value=record.value[:-1] + b',"shoe_size":42}'))
    async with scene.consuming():
        await until(lambda: scene.committed() == 1)
    assert scene.names == ["future"]


async def test_a_standstill_without_a_reason_ends_the_loop(scene: Scene) -> None:
    async def react(name: str) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if finish.is_set():
                    raise

    finish = asyncio.Event()
    scene.react = react
    await scene.say(record_of(registered("x")))
    loop = ConsumeLoop(scene.bus, scene.inbox, scene.subscription(), stuck_after_seconds=0.2)
    task = asyncio.create_task(loop.run())
    await until(lambda: bool(scene.trace_ids))
    asyncio.get_running_loop().call_later(1.0, finish.set)
    with pytest.raises(ConsumerStuck) as raised:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await task
    assert raised.value.waiting_messages == 1
    assert is_unready(loop)


async def test_messages_that_nobody_fetches_end_the_loop() -> None:
    scene = Scene()
    await scene.say(record_of(registered("x")))
    loop = ConsumeLoop(scene.bus, scene.inbox, scene.subscription(), stuck_after_seconds=0.2)
    task = asyncio.create_task(loop.run())
    await until(lambda: loop._consumer is not None)
    for place in scene.bus.partitions_of(frozenset({TOPIC})):
        loop._consumer.pause(place)  # type: ignore[union-attr]  # just awaited
    await scene.say(*(record_of(registered(str(n)))._replace(key=str(n).encode()) for n in range(9)))
    with pytest.raises(ConsumerStuck):
        async with asyncio.timeout(DEADLINE_SECONDS):
            await task


async def test_an_idle_loop_is_not_stuck(scene: Scene) -> None:
    async with scene.consuming(stuck_after_seconds=0.5) as loop:
        await asyncio.sleep(1.5)  # three times the bound: nothing may have happened by now
        await scene.say(record_of(registered("late")))
        await until(lambda: scene.committed() == 1)
        assert not is_unready(loop)


async def test_a_full_buffer_pauses_the_partition_and_nothing_is_lost(scene: Scene) -> None:
    gate = asyncio.Event()

    async def react(name: str) -> None:
        await gate.wait()

    scene.react = react
    await scene.say(*(record_of(registered(f"u{number}")) for number in range(2500)))
    async with scene.consuming() as loop:
        await until(lambda: bool(scene.trace_ids))
        await scene.say(*(record_of(registered(f"u{number}")) for number in range(2500, 5000)))
        await asyncio.sleep(0.2)  # time for a second fetch, which must not happen
        assert sum(worker.waiting_messages for worker in loop._workers.values()) == 2500
        gate.set()
        await until(lambda: scene.committed() == 5000)
    assert scene.names == [f"u{number}" for number in range(5000)]


async def test_a_lost_bus_is_joined_again() -> None:
    class Flaky(MemoryBus):
        joins = 0

        def consumer(
            self, group: str, topics: Sequence[str], listener: RebalanceListener
        ) -> AbstractAsyncContextManager[Consumer]:
            self.joins += 1
            if self.joins <= 2:
                raise BusUnavailable("no broker")
            return super().consumer(group, topics, listener)

    bus = Flaky({TOPIC: 1, DEAD_LETTERS.name: 1})
    scene = Scene(bus=bus)
    loop = ConsumeLoop(scene.bus, scene.inbox, scene.subscription())
    await scene.say(record_of(registered("x")))
    task = asyncio.create_task(loop.run())
    await until(lambda: scene.names == ["x"])
    task.cancel()
    await asyncio.wait({task})
    assert bus.joins == 3


async def test_stopping_lets_the_batch_in_hand_end_and_commits_it(scene: Scene) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def react(name: str) -> None:
        entered.set()
        await gate.wait()

    scene.react = react
    await scene.say(record_of(registered("in hand")))
    loop = asyncio.create_task(ConsumeLoop(scene.bus, scene.inbox, scene.subscription()).run())
    await entered.wait()
    loop.cancel()
    asyncio.get_running_loop().call_later(0.05, gate.set)
    await asyncio.wait({loop})
    assert loop.cancelled()
    assert scene.names == ["in hand"]
    assert scene.committed() == 1


async def test_a_client_that_swallows_cancellation_does_not_hold_up_the_end(scene: Scene) -> None:
    let_go = asyncio.Event()

    class Deaf(MemoryBus):
        @asynccontextmanager
        async def consumer(
            self, group: str, topics: Sequence[str], listener: RebalanceListener
        ) -> AsyncIterator[Consumer]:
            async with super().consumer(group, topics, listener) as consumer:

                async def unread() -> dict[Partition, int]:
                    while not let_go.is_set():
                        with suppress(asyncio.CancelledError):
                            await let_go.wait()
                    return {}

                consumer.unread = unread  # type: ignore[method-assign]  # of this one consumer
                yield consumer

    bus = Deaf({TOPIC: 1, DEAD_LETTERS.name: 1})
    loop = ConsumeLoop(bus, scene.inbox, scene.subscription())
    task = asyncio.create_task(loop.run())
    await until(lambda: bool(loop.partitions))
    task.cancel()
    await asyncio.wait({task}, timeout=DEADLINE_SECONDS)
    ended = task.done()
    let_go.set()
    await asyncio.wait({task})
    assert ended
    assert task.cancelled()
