"""What every chat broker must do; the memory twin and Redis pass the same suite."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from chat.brokers.broker import Allowance, Broker, Conditions, Entry, Position, Retention, Unique
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.brokers.broker_redis import RedisBroker
from chat.errors import SentBefore, SentTooOften, SpoolFull
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

PLENTY = Conditions()


@dataclass
class Ears:
    """A listener that remembers."""

    messages: list[tuple[Position, bytes]] = field(default_factory=list)
    signals: list[bytes] = field(default_factory=list)
    connections: int = 0
    disconnections: int = 0

    def published(self, position: Position, body: bytes) -> None:
        self.messages.append((position, body))

    def signalled(self, body: bytes) -> None:
        self.signals.append(body)

    def connected(self) -> None:
        self.connections += 1

    def disconnected(self) -> None:
        self.disconnections += 1


@dataclass
class World:
    """A server with two gateways' brokers on it, and ways to hurt it."""

    one: Broker
    other: Broker
    lose: Callable[[UUID], "asyncio.Future[None]"]
    pass_seconds: Callable[[float], "asyncio.Future[None]"]


RETENTION = Retention(entries_max=10, entry_seconds=60, position_seconds=60, sent_id_seconds=60,
                      spooled_entries_max=200)  # fmt: skip
BRIEF_SECONDS = 2.0
BRIEF = replace(RETENTION, entry_seconds=BRIEF_SECONDS)


@asynccontextmanager
async def memory_world(retention: Retention) -> AsyncIterator[World]:
    now = [1_000.0]
    server = MemoryServer(retention, clock=lambda: now[0])

    async def lose(_room: UUID) -> None:
        server.lose_everything()

    async def pass_seconds(seconds: float) -> None:
        now[0] += seconds

    yield World(
        MemoryBroker(server),
        MemoryBroker(server),
        lambda room: asyncio.ensure_future(lose(room)),
        lambda seconds: asyncio.ensure_future(pass_seconds(seconds)),
    )


@asynccontextmanager
async def redis_world(url: str, retention: Retention = RETENTION) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        clients: list[Redis] = []
        brokers: list[RedisBroker] = []
        for _ in range(2):
            client = redis_client(RedisSettings(redis_url=SecretStr(url)))
            stack.push_async_callback(client.aclose)
            clients.append(client)
            brokers.append(RedisBroker(client, retention))
        tasks = [asyncio.create_task(broker.run()) for broker in brokers]

        async def lose(room: UUID) -> None:
            await clients[0].delete(f"chat:{{{room}}}:position", f"chat:{{{room}}}:stream")

        async def pass_seconds(seconds: float) -> None:
            await asyncio.sleep(seconds)  # the server's own clock is what is tested

        try:
            await until(lambda: all(broker.connected for broker in brokers))
            yield World(
                brokers[0],
                brokers[1],
                lambda room: asyncio.ensure_future(lose(room)),
                lambda seconds: asyncio.ensure_future(pass_seconds(seconds)),
            )
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


def world_of(request: pytest.FixtureRequest, retention: Retention) -> AbstractAsyncContextManager[World]:
    if request.param == "memory":
        return memory_world(retention)
    return redis_world(request.getfixturevalue("redis_url"), retention)


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_of(request, RETENTION) as made:
        yield made


@pytest.fixture(params=["memory", "redis"])
async def brief_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Keeps messages for `BRIEF_SECONDS`."""
    async with world_of(request, BRIEF) as made:
        yield made


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  a condition with a deadline
            await asyncio.sleep(0.005)


async def heard(broker: Broker, room: UUID) -> Ears:
    ears = Ears()
    broker.listen(room, ears)
    await until(lambda: ears.connections > 0)
    return ears


async def publish(world: World, room: UUID, count: int, start: int = 0) -> list[Position]:
    made = []
    for number in range(start, start + count):
        body = b'{"n":%d}' % number
        made.append((await world.one.publish(room, f"m{number}", body, PLENTY)).position)
    return made


async def test_every_listener_hears_each_message_once_and_in_order(world: World) -> None:
    room = uuid4()
    mine, others = await heard(world.one, room), await heard(world.other, room)
    positions = await publish(world, room, 30)
    await until(lambda: len(mine.messages) == 30 and len(others.messages) == 30)
    assert [position.offset for position in positions] == list(range(1, 31))
    assert mine.messages == others.messages == [(p, b'{"n":%d}' % n) for n, p in enumerate(positions)]


async def test_concurrent_publishers_leave_no_hole(world: World) -> None:
    room = uuid4()
    ears = await heard(world.other, room)

    async def write(broker: Broker, name: str) -> None:
        for number in range(50):
            await broker.publish(room, f"{name}{number}", name.encode() + b"%d" % number, PLENTY)

    await asyncio.gather(*(write(broker, name) for broker, name in
                           [(world.one, "a"), (world.other, "b"), (world.one, "c"), (world.other, "d")]))  # fmt: skip
    await until(lambda: len(ears.messages) == 200)
    assert [position.offset for position, _ in ears.messages] == list(range(1, 201))
    assert len({position.epoch for position, _ in ears.messages}) == 1
    for name in (b"a", b"b", b"c", b"d"):
        own = [body for _, body in ears.messages if body.startswith(name)]
        assert own == [name + b"%d" % number for number in range(50)]


async def test_the_same_message_id_is_one_message(world: World) -> None:
    room = uuid4()
    ears = await heard(world.one, room)
    first = await world.one.publish(room, "same", b"{1}", PLENTY)
    again = await world.other.publish(room, "same", b"{2}", PLENTY)
    await world.one.publish(room, "next", b"{3}", PLENTY)
    await until(lambda: len(ears.messages) == 2)
    assert (first.fresh, again.fresh) == (True, False)
    assert first.position == again.position
    assert [body for _, body in ears.messages] == [b"{1}", b"{3}"]


async def test_rooms_do_not_hear_each_other(world: World) -> None:
    room, elsewhere = uuid4(), uuid4()
    ears, others = await heard(world.one, room), await heard(world.one, elsewhere)
    await publish(world, room, 1)
    await until(lambda: len(ears.messages) == 1)
    assert others.messages == []


async def test_a_reader_gets_exactly_what_it_missed(world: World) -> None:
    room = uuid4()
    positions = await publish(world, room, 8)
    for seen in range(8):
        reading = await world.other.read(room, positions[seen], entries_max=100)
        assert reading.recovered
        assert reading.position == positions[-1]
        assert reading.entries == tuple(Entry(n + 1, b'{"n":%d}' % n) for n in range(seen + 1, 8))


async def test_reading_from_the_very_start_is_a_recovery(world: World) -> None:
    room = uuid4()
    empty = await world.one.read(room, None, entries_max=5)
    assert (empty.position.offset, empty.entries) == (0, ())
    await publish(world, room, 3)
    reading = await world.one.read(room, empty.position, entries_max=5)
    assert reading.recovered
    assert [entry.offset for entry in reading.entries] == [1, 2, 3]


async def test_history_is_the_newest_and_bounded(world: World) -> None:
    room = uuid4()
    await publish(world, room, 25)
    reading = await world.one.read(room, None, entries_max=4)
    assert not reading.recovered
    assert [entry.offset for entry in reading.entries] == [22, 23, 24, 25]
    everything = await world.one.read(room, None, entries_max=1_000)
    assert [entry.offset for entry in everything.entries] == list(range(16, 26)), "the cap is ten"


async def test_a_position_older_than_the_cap_is_not_recovered(world: World) -> None:
    room = uuid4()
    positions = await publish(world, room, 25)
    kept = await world.one.read(room, positions[14], entries_max=100)
    assert kept.recovered
    assert len(kept.entries) == 10
    older = await world.one.read(room, positions[13], entries_max=100)
    assert not older.recovered
    assert [entry.offset for entry in older.entries] == list(range(16, 26))


async def test_more_than_the_reader_takes_is_not_recovered(world: World) -> None:
    room = uuid4()
    positions = await publish(world, room, 8)
    assert (await world.one.read(room, positions[2], entries_max=5)).recovered
    reading = await world.one.read(room, positions[1], entries_max=5)
    assert not reading.recovered
    assert [entry.offset for entry in reading.entries] == [4, 5, 6, 7, 8]


async def test_a_position_of_another_epoch_or_of_the_future_is_not_recovered(world: World) -> None:
    room = uuid4()
    last = (await publish(world, room, 3))[-1]
    assert not (await world.one.read(room, Position(2, "other"), entries_max=5)).recovered
    assert not (await world.one.read(room, Position(4, last.epoch), entries_max=5)).recovered
    assert not (await world.one.read(room, Position(0, ""), entries_max=5)).recovered


async def test_loss_changes_the_epoch(world: World) -> None:
    room = uuid4()
    ears = await heard(world.one, room)
    before = (await publish(world, room, 3))[-1]
    await world.lose(room)
    after = (await publish(world, room, 2, start=50))[0]
    assert after.epoch != before.epoch
    assert after.offset == 1
    reading = await world.one.read(room, Position(1, before.epoch), entries_max=5)
    assert not reading.recovered
    assert [entry.offset for entry in reading.entries] == [1, 2]
    await until(lambda: len(ears.messages) == 5)


async def test_messages_expire_but_the_count_goes_on(brief_world: World) -> None:
    world, room = brief_world, uuid4()
    last = (await publish(world, room, 3))[-1]
    await world.pass_seconds(BRIEF_SECONDS + 0.2)
    quiet = await world.one.read(room, last, entries_max=5)
    assert (quiet.recovered, quiet.entries) == (True, ())
    gone = await world.one.read(room, Position(1, last.epoch), entries_max=5)
    assert (gone.recovered, gone.entries) == (False, ())
    following = (await publish(world, room, 1, start=9))[0]
    assert following == Position(4, last.epoch)


async def test_a_busy_room_lets_old_messages_go(brief_world: World) -> None:
    world, room = brief_world, uuid4()
    first = (await publish(world, room, 2))[-1]
    await world.pass_seconds(BRIEF_SECONDS - 0.1)
    await publish(world, room, 1, start=2)
    await world.pass_seconds(0.2)
    reading = await world.one.read(room, None, entries_max=10)
    assert [entry.offset for entry in reading.entries] == [3]
    assert (await world.one.read(room, first, entries_max=10)).recovered


async def test_signals_are_heard_and_not_kept(world: World) -> None:
    room = uuid4()
    ears, others = await heard(world.one, room), await heard(world.other, room)
    await world.one.signal(room, b"look")
    await until(lambda: ears.signals == others.signals == [b"look"])
    assert (await world.one.read(room, None, entries_max=5)).entries == ()


async def test_a_forgotten_room_is_not_heard_and_can_be_heard_again(world: World) -> None:
    room = uuid4()
    before = await heard(world.one, room)
    world.one.forget(room)
    world.one.forget(room)
    after = await heard(world.one, room)
    await publish(world, room, 1)
    await until(lambda: len(after.messages) == 1)
    assert before.messages == []


async def test_the_allowance_is_exact_over_gateways(world: World) -> None:
    room = uuid4()
    pace = Conditions((Allowance("pace", "u1", messages_max=4, seconds=60.0),))

    async def attempt(number: int) -> bool:
        try:
            await (world.one, world.other)[number % 2].publish(room, f"p{number}", b"{}", pace)
        except SentTooOften as error:
            assert error.allowance_name == "pace"
            assert 0 < error.retry_after_seconds < 60.01
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(20)))) == 4
    again = await world.one.publish(room, "u2-1", b"{}", Conditions((Allowance("pace", "u2", 4, seconds=60.0),)))
    assert again.position.offset == 5, "another sender has an allowance of its own"


async def test_an_allowance_comes_back_when_its_time_is_over(world: World) -> None:
    room = uuid4()
    brief = Conditions((Allowance("brief", "u1", messages_max=4, seconds=0.5),))
    for spell in range(2):
        for number in range(4):
            await world.one.publish(room, f"b{spell}-{number}", b"{}", brief)
        await world.pass_seconds(0.6)


async def test_a_repeated_message_costs_nothing_and_is_never_refused(world: World) -> None:
    room = uuid4()
    once = Conditions((Allowance("pace", "u1", messages_max=1, seconds=60),), Unique("digest", 60))
    first = await world.one.publish(room, "a", b"{}", once)
    again = await world.other.publish(room, "a", b"{}", once)
    assert (again.position, again.fresh) == (first.position, False)


async def test_all_allowances_hold_and_the_longest_wait_is_said(world: World) -> None:
    room = uuid4()
    pace, slow = Allowance("pace", "u1", 2, seconds=0.5), Allowance("slow-mode", "u1", 1, seconds=30)
    await world.one.publish(room, "a", b"{}", Conditions((pace,)))
    await world.one.publish(room, "b", b"{}", Conditions((slow, pace)))
    with pytest.raises(SentTooOften) as refused:
        await world.other.publish(room, "c", b"{}", Conditions((pace, slow)))
    assert refused.value.allowance_name == "slow-mode"
    assert 20 < refused.value.retry_after_seconds <= 30


async def test_a_refusal_uses_nothing_up(world: World) -> None:
    """Neither an allowance that was not the reason, nor the digest, nor an offset."""
    room = uuid4()
    pace, slow = Allowance("pace", "u1", 2, seconds=60), Allowance("slow-mode", "u1", 1, seconds=60)
    await world.one.publish(room, "a", b"{}", Conditions((pace, slow)))
    for attempt in range(3):
        with pytest.raises(SentTooOften) as refused:
            await world.one.publish(room, f"b{attempt}", b"{}", Conditions((pace, slow), Unique("new", 60)))
        assert refused.value.allowance_name == "slow-mode"
    assert (await world.one.publish(room, "c", b"{}", Conditions((pace,), Unique("new", 60)))).position.offset == 2
    with pytest.raises(SentTooOften) as spent:
        await world.one.publish(room, "d", b"{}", Conditions((pace,)))
    assert spent.value.allowance_name == "pace"


async def test_a_text_is_said_once_in_its_time_and_room(world: World) -> None:
    room, elsewhere = uuid4(), uuid4()
    unique, brief = Conditions(unique=Unique("digest", 60)), Conditions(unique=Unique("brief", 0.5))
    await world.one.publish(room, "a", b"{}", unique)
    with pytest.raises(SentBefore):
        await world.other.publish(room, "b", b"{}", unique)
    await world.other.publish(elsewhere, "b", b"{}", unique)
    await world.one.publish(room, "c", b"{}", brief)
    await world.pass_seconds(0.6)
    assert (await world.other.publish(room, "b", b"{}", brief)).position.offset == 3


async def test_a_full_spool_takes_nothing_more_and_repeats_still_answer(world: World) -> None:
    room = uuid4()
    cap = RETENTION.spooled_entries_max
    first, *_ = await publish(world, room, cap)
    with pytest.raises(SpoolFull):
        await world.other.publish(room, "more", b"{}", PLENTY)
    assert (await world.other.publish(room, "m0", b"{}", PLENTY)).position == first
    unspooled = await world.other.publish(room, "more", b"{}", PLENTY, spooled=False)
    assert unspooled.position.offset == cap + 1


async def test_members_are_counted_over_gateways_that_say_so_lately(world: World) -> None:
    room = uuid4()
    assert await world.one.count_members("g1", {room: 3}, seconds=60) == {room: 3}
    assert await world.other.count_members("g2", {room: 4}, seconds=60) == {room: 7}
    assert await world.one.count_members("g1", {room: 2}, seconds=0.5) == {room: 6}
    await world.pass_seconds(0.6)
    assert await world.other.count_members("g2", {room: 4}, seconds=60) == {room: 4}


async def test_members_of_many_rooms_are_counted_at_once(world: World) -> None:
    members = {uuid4(): number for number in range(250)}
    assert await world.one.count_members("g1", members, seconds=60) == members
    assert await world.other.count_members("g2", dict.fromkeys(members, 1), seconds=60) == {
        room: number + 1 for room, number in members.items()
    }


async def test_a_restarted_redis_continues_what_it_kept_and_refuses_what_it_lost(redis_url: str) -> None:
    """Under another run id the newest writes may be missing, so positions beyond what is stored are refused."""
    async with redis_world(redis_url) as world:
        room = uuid4()
        before = (await publish(world, room, 5))[-1]
        seen_by_others = Position(7, before.epoch)  # two more were told before the crash and are lost
        client = Redis.from_url(redis_url)
        await client.hset(f"chat:{{{room}}}:position", "run", "of-the-server-before")
        await client.aclose()
        after = (await publish(world, room, 4, start=20))[-1]
        assert after.epoch != before.epoch
        assert after.offset == 9
        assert not (await world.one.read(room, seen_by_others, entries_max=10)).recovered
        for kept in (3, 5):
            reading = await world.one.read(room, Position(kept, before.epoch), entries_max=10)
            assert reading.recovered
            assert [entry.offset for entry in reading.entries] == list(range(kept + 1, 10))


async def test_redis_holds_messages_for_their_time_only(redis_url: str) -> None:
    async with redis_world(redis_url, BRIEF) as world:
        room = uuid4()
        stream = f"chat:{{{room}}}:stream"
        client = Redis.from_url(redis_url)
        await publish(world, room, 3)
        await world.pass_seconds(BRIEF_SECONDS - 0.1)
        await publish(world, room, 1, start=3)
        await world.pass_seconds(0.2)
        await publish(world, room, 1, start=4)
        assert await client.xlen(stream) == 2, "a busy room lets old messages go"
        await world.pass_seconds(BRIEF_SECONDS + 0.1)
        assert await client.exists(stream) == 0, "a quiet room forgets all"
        await client.aclose()
