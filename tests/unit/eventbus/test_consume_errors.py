"""What the consume loop decides about every error, and the way of a dead letter, on the twins in memory."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventbus.bus import (
    BusUnavailable,
    Partition,
    Record,
    RecordRefused,
)
from eventbus.bus_memory import MemoryBus
from eventbus.consume import ConsumeLoop, Subscription, Transient, Unprocessable
from eventbus.dead_letters import DeadLetters
from eventbus.outbox import Transaction
from events import DEAD_LETTERS, AccountRegistered, Envelope, StreamEnded
from runtime.ids import uuid7
from tests.unit.eventbus.scene import (
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
        await until(lambda: not is_unready(loop))
    assert scene.names == ["patient"]
    assert not scene.bus.log_of(Partition(DEAD_LETTERS.name, 0))


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
