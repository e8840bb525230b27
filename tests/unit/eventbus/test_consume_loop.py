"""The consume loop's decisions about every message and every error, on the twins in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventbus.bus import (
    BusUnavailable,
    Consumer,
    Headers,
    Message,
    Partition,
    RebalanceListener,
    Record,
    RecordRefused,
)
from eventbus.bus_memory import MemoryBus
from eventbus.consume import ConsumeLoop, ConsumerStuck, Subscription, Transient, Unprocessable
from eventbus.dead_letters import DeadLetters
from eventbus.inbox_memory import MemoryInbox
from eventbus.outbox import Transaction
from events import DEAD_LETTERS, AccountRegistered, Envelope, Event, StreamEnded, StreamStarted, encode, topic_of
from runtime.health import Health
from runtime.ids import uuid7
from runtime.trace import current_trace

DEADLINE_SECONDS = 10.0
TOPIC = topic_of(AccountRegistered).name
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def registered(username: str) -> Envelope[AccountRegistered]:
    now = datetime.now(UTC)
    event = AccountRegistered(user_id=uuid7(), username=username, registered_at=now)
    return Envelope(id=uuid7(), source="accounts", time=now, event=event, traceparent=TRACEPARENT)


def record_of(envelope: Envelope[Event]) -> Record:
    _, value, headers = encode(envelope)
    return Record(topic_of(envelope.event).name, b"one key", value, headers)


def with_header(record: Record, name: str, value: bytes) -> Record:
    return record._replace(headers=(*((n, v) for n, v in record.headers if n != name), (name, value)))


@dataclass
class Scene:
    """A bus, an inbox, and a handler that notes what it is given."""

    bus: MemoryBus = field(default_factory=lambda: MemoryBus({TOPIC: 2, "streams.v1": 1, DEAD_LETTERS.name: 1}))
    inbox: MemoryInbox = field(default_factory=MemoryInbox)
    health: Health = field(default_factory=Health)
    names: list[str] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)
    react: Callable[[str], Awaitable[None]] | None = None

    async def handle(self, transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        trace = current_trace()
        self.trace_ids.append("" if trace is None else trace.trace_id)
        if self.react is not None:
            await self.react(envelope.event.username)
        self.names.append(envelope.event.username)

    def subscription(self, **bounds: float) -> Subscription:
        defaults: dict[str, float] = {"retry_first_seconds": 0.01, "retry_ceiling_seconds": 0.02}
        return Subscription("chat-accounts", {AccountRegistered: self.handle}, **(defaults | bounds))  # type: ignore[arg-type]  # ints and floats by name

    @asynccontextmanager
    async def consuming(self, stuck_after_seconds: float = 60.0, **bounds: float) -> AsyncIterator[ConsumeLoop]:
        loop = ConsumeLoop(
            self.bus,
            self.inbox,
            self.subscription(**bounds),
            health=self.health,
            stuck_after_seconds=stuck_after_seconds,
        )
        task = asyncio.create_task(loop.run())
        try:
            yield loop
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def say(self, *records: Record) -> None:
        await self.bus.publish(records)

    async def dead(self, count: int) -> Sequence[Message]:
        log = self.bus.log_of(Partition(DEAD_LETTERS.name, 0))
        await until(lambda: len(log) >= count)
        return log

    def committed(self) -> int:
        return sum(self.bus.committed("chat-accounts").values())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


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


async def test_a_handler_that_fails_three_times_then_works(scene: Scene) -> None:
    failures = {"left": 3}

    async def react(name: str) -> None:
        if name == "flaky" and failures["left"]:
            failures["left"] -= 1
            raise RuntimeError("not yet")

    scene.react = react
    await scene.say(*(record_of(registered(name)) for name in ("before", "flaky", "after")))
    async with scene.consuming():
        await until(lambda: scene.committed() == 3)
    # The first failure rolls the whole batch back: what was before it is applied again, once in effect.
    assert scene.names[-3:] == ["before", "flaky", "after"]
    assert not scene.bus.log_of(Partition(DEAD_LETTERS.name, 0))


@pytest.mark.parametrize(
    ("error", "attempts"), [(RuntimeError("no"), 5), (Transient("no"), 7), (Unprocessable("no"), 1)]
)
async def test_a_handler_that_always_fails_is_given_up_and_its_neighbours_are_not(
    scene: Scene, error: Exception, attempts: int
) -> None:
    async def react(name: str) -> None:
        if name == "bad":
            raise error

    scene.react = react
    await scene.say(*(record_of(registered(name)) for name in ("before", "bad", "after")))
    async with scene.consuming(attempts_max=5, transient_attempts_max=7):
        await until(lambda: scene.committed() == 3)
    [letter] = await DeadLetters(scene.bus).all()
    assert (letter.error, letter.error_text, letter.attempts) == (type(error).__name__, "no", attempts)
    assert scene.names[-2:] == ["before", "after"]


@pytest.mark.parametrize("error", [ConnectionRefusedError("away"), TimeoutError("away"), BusUnavailable("away")])
async def test_an_outage_is_waited_out_without_giving_anything_up(scene: Scene, error: Exception) -> None:
    away = asyncio.Event()
    away.set()
    tries = 0

    async def react(name: str) -> None:
        nonlocal tries
        if away.is_set():
            tries += 1
            raise error

    scene.react = react
    await scene.say(record_of(registered("patient")))
    async with scene.consuming(attempts_max=2, stuck_after_seconds=0.2) as loop:
        await until(lambda: tries > 30)
        assert "away" in str((await scene.health.reasons())[loop.name])
        away.clear()
        await until(lambda: scene.committed() == 1)
        await until(lambda: not _unready(loop))
    assert scene.names == ["patient"]
    assert not scene.bus.log_of(Partition(DEAD_LETTERS.name, 0))


def _unready(loop: ConsumeLoop) -> bool:
    try:
        loop.check()
    except BusUnavailable:
        return True
    return False


async def test_a_missing_file_is_not_an_outage(scene: Scene) -> None:
    async def react(name: str) -> None:
        raise FileNotFoundError("segment.ts")

    scene.react = react
    await scene.say(record_of(registered("lost")))
    async with scene.consuming(attempts_max=2):
        assert len(await scene.dead(1)) == 1


async def test_other_partitions_go_on_while_one_waits(scene: Scene) -> None:
    async def react(name: str) -> None:
        if name == "stuck":
            raise ConnectionError("away")

    scene.react = react
    keys = {number: f"key {number}".encode() for number in range(8)}
    await scene.say(record_of(registered("stuck"))._replace(key=keys[0]))
    stuck = next(place for place in scene.bus.partitions_of(frozenset({TOPIC})) if scene.bus.log_of(place))
    other = next(key for key in keys.values() if _partition(scene.bus, key) != stuck)
    await scene.say(*(record_of(registered(f"u{n}"))._replace(key=other) for n in range(3)))
    async with scene.consuming():
        await until(lambda: scene.names == ["u0", "u1", "u2"])


def _partition(bus: MemoryBus, key: bytes) -> Partition:
    trial = MemoryBus({TOPIC: 2})
    trial._append(Record(TOPIC, key, b""))
    return next(place for place in trial.partitions_of(frozenset({TOPIC})) if trial.log_of(place))


async def test_a_handler_that_takes_too_long_is_stopped_and_set_aside(scene: Scene) -> None:
    async def react(name: str) -> None:
        if name == "slow":
            await asyncio.Event().wait()

    scene.react = react
    await scene.say(record_of(registered("slow")), record_of(registered("quick")))
    async with scene.consuming(handler_seconds_max=0.02, transient_attempts_max=2):
        await until(lambda: scene.committed() == 2)
    assert scene.names == ["quick"]
    [letter] = await DeadLetters(scene.bus).all()
    assert letter.error == "HandlerTooSlow"


async def test_what_a_failed_attempt_said_is_not_said(scene: Scene) -> None:
    now = datetime.now(UTC)
    tries = 0

    async def speak(transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        nonlocal tries
        tries += 1
        await transaction.say(
            StreamEnded(stream_id=UUID(int=tries), channel_id=uuid7(), started_at=now, ended_at=now, reason="silent")
        )
        if tries < 3:
            raise RuntimeError("after saying")

    subscription = Subscription("chat-accounts", {AccountRegistered: speak}, retry_first_seconds=0.01)
    await scene.say(record_of(registered("x")))
    loop = asyncio.create_task(ConsumeLoop(scene.bus, scene.inbox, subscription).run())
    await until(lambda: bool(scene.inbox.said))
    loop.cancel()
    await asyncio.wait({loop})
    assert [event.stream_id for event in scene.inbox.said if isinstance(event, StreamEnded)] == [UUID(int=3)]


async def test_dead_letters_wait_for_the_bus_and_the_offset_waits_for_them() -> None:
    class Moody(MemoryBus):
        refusals = 5

        async def publish(self, records: Sequence[Record]) -> None:
            if records[0].topic == DEAD_LETTERS.name and self.refusals:
                self.refusals -= 1
                assert not self.committed("chat-accounts")
                raise BusUnavailable("no acknowledgement")
            await super().publish(records)

    scene = Scene(bus=Moody({TOPIC: 1, DEAD_LETTERS.name: 1}))
    await scene.say(record_of(registered("x"))._replace(value=b"?"), record_of(registered("good")))
    async with scene.consuming():
        await until(lambda: scene.committed() == 2)
    assert scene.names == ["good"]
    assert len(await DeadLetters(scene.bus).all()) == 1


async def test_a_message_too_large_for_the_dead_letters_leaves_its_place_there() -> None:
    class Narrow(MemoryBus):
        async def publish(self, records: Sequence[Record]) -> None:
            if records[0].topic == DEAD_LETTERS.name and len(records[0].value or b"") > 100:
                raise RecordRefused("too large")
            await super().publish(records)

    scene = Scene(bus=Narrow({TOPIC: 1, DEAD_LETTERS.name: 1}))
    await scene.say(record_of(registered("x"))._replace(value=b"?" * 101))
    async with scene.consuming():
        await until(lambda: scene.committed() == 1)
    [letter] = await DeadLetters(scene.bus).all()
    assert letter.value_dropped
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, 0, 0)


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
    assert _unready(loop)


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
    async with scene.consuming(stuck_after_seconds=0.1) as loop:
        await asyncio.sleep(0.5)  # five times the bound: nothing may have happened by now
        await scene.say(record_of(registered("late")))
        await until(lambda: scene.committed() == 1)
        assert not _unready(loop)


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


async def test_a_replayed_message_is_for_its_group_alone(scene: Scene) -> None:
    record = record_of(registered("replayed"))
    await scene.say(with_header(record, "livestream-replay-group", b"notify-accounts"))
    async with scene.consuming():
        await until(lambda: scene.committed() == 1)
        assert scene.names == []
        await scene.say(with_header(record, "livestream-replay-group", b"chat-accounts"))
        await until(lambda: scene.names == ["replayed"])


async def test_a_dead_letter_can_be_replayed_and_a_second_replay_is_harmless(scene: Scene) -> None:
    broken = True

    async def react(name: str) -> None:
        if broken:
            raise Unprocessable("a bug")

    scene.react = react
    await scene.say(record_of(registered("unlucky")))
    dead = DeadLetters(scene.bus)
    async with scene.consuming():
        await scene.dead(1)
        broken = False
        [letter] = await dead.all()
        assert letter.replayed_at is None
        await dead.replay([letter])
        await until(lambda: scene.names == ["unlucky"])
        await dead.replay([await dead.find(letter.id)])
        await until(lambda: scene.committed() == 3)
    assert scene.names == ["unlucky"]
    [letter] = await dead.all()
    assert letter.replayed_at is not None


async def test_a_replay_that_fails_again_is_one_more_dead_letter_without_old_marks(scene: Scene) -> None:
    async def react(name: str) -> None:
        raise Unprocessable("still broken")

    scene.react = react
    await scene.say(record_of(registered("hopeless")))
    dead = DeadLetters(scene.bus)
    async with scene.consuming():
        await scene.dead(1)
        await dead.replay(await dead.all())
        await scene.dead(3)  # the first, the note of its replay, the second
    first, second = await dead.all()
    assert first.replayed_at is not None
    assert second.replayed_at is None
    assert first.headers == second.headers
