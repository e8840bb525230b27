"""What every spool must do; the memory twin and Redis pass the same suite."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from chat.brokers.broker import Broker, Conditions
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.brokers.broker_redis import RedisBroker
from chat.brokers.redis_calls import RedisCalls
from chat.brokers.spool import Spool, SpooledMessage
from chat.brokers.spool_memory import MemorySpool
from chat.brokers.spool_redis import INDEX, NOTE_HOLDS_SECONDS, NOTE_SECONDS, RedisSpool, SpoolNotes
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

FREE = Conditions()
LOOKS_MAX = 1_000


@dataclass
class World:
    """A gateway's broker, and two readers of what waits."""

    broker: Broker
    spool: Spool
    other: Spool


@asynccontextmanager
async def redis_world(url: str) -> AsyncIterator[World]:
    async with redis_client(RedisSettings(redis_url=SecretStr(url))) as client:
        yield World(RedisBroker(client), RedisSpool(client), RedisSpool(client))


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        server = MemoryServer()
        yield World(MemoryBroker(server), MemorySpool(server), MemorySpool(server))
    else:
        async with redis_world(request.getfixturevalue("redis_url")) as made:
            yield made


async def publish(world: World, room: UUID, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await world.broker.publish(room, f"m{number}", b'{"n":%d}' % number, FREE)


async def found(spool: Spool, wanted: Callable[[set[UUID]], bool], rooms_max: int = 100) -> bool:
    """Whether looking again and again shows the wanted rooms; others may be there too."""
    seen: set[UUID] = set()
    for _ in range(LOOKS_MAX):
        seen.update(await spool.rooms(rooms_max=rooms_max))
        if wanted(seen):
            return True
    return False


async def looked_through(spool: Spool) -> set[UUID]:
    """All rooms of several rounds."""
    seen: set[UUID] = set()
    for _ in range(20):
        seen.update(await spool.rooms(rooms_max=10_000))
    return seen


async def test_what_is_published_waits_in_order_with_its_place(world: World) -> None:
    room = uuid4()
    positions = [(await world.broker.publish(room, f"m{n}", b"{%d}" % n, FREE)).position for n in range(5)]
    waiting = await world.spool.waiting(room, entries_max=100)
    assert [(m.offset, m.epoch, m.body) for m in waiting] == [
        (p.offset, p.epoch, b"{%d}" % n) for n, p in enumerate(positions)
    ]
    assert list(await world.spool.waiting(room, entries_max=3)) == list(waiting[:3])
    assert await world.spool.depth(room) == 5


async def test_a_repeat_and_an_unspooled_message_do_not_wait(world: World) -> None:
    room = uuid4()
    await world.broker.publish(room, "a", b"{}", FREE)
    await world.broker.publish(room, "a", b"{}", FREE)
    await world.broker.publish(room, "b", b"{}", FREE, spooled=False)
    assert [m.offset for m in await world.spool.waiting(room, entries_max=9)] == [1]


async def test_only_what_is_named_leaves(world: World) -> None:
    room, elsewhere = uuid4(), uuid4()
    await publish(world, room, 6)
    await publish(world, elsewhere, 1)
    waiting = await world.spool.waiting(room, entries_max=9)
    await world.spool.settle(room, [waiting[0].spool_id, waiting[3].spool_id])
    await world.other.settle(room, [waiting[0].spool_id, "1-1"])  # late, by somebody who was thought dead
    await world.other.settle(room, [])
    left = await world.other.waiting(room, entries_max=9)
    assert [m.offset for m in left] == [2, 3, 5, 6]
    assert await world.spool.depth(elsewhere) == 1


async def test_several_rooms_are_read_and_settled_at_once_as_they_are_one_by_one(world: World) -> None:
    rooms = [uuid4() for _ in range(4)]
    for room, count in zip(rooms, (3, 0, 1, 5), strict=True):
        await publish(world, room, count)
    found = await world.spool.waiting_in(rooms, entries_max=3)
    assert found == [await world.spool.waiting(room, entries_max=3) for room in rooms]
    assert [len(entries) for entries in found] == [3, 0, 1, 3]
    first, _, third, fourth = ([entry.spool_id for entry in entries] for entries in found)
    await world.spool.settle_in({rooms[0]: first, rooms[1]: [], rooms[2]: third[:0], rooms[3]: fourth[:1]})
    await world.spool.settle_in({rooms[0]: first})  # once more does nothing
    assert [await world.spool.depth(room) for room in rooms] == [0, 0, 1, 4]
    assert [entry.offset for entry in (await world.other.waiting_in(rooms[3:], entries_max=9))[0]] == [2, 3, 4, 5]
    assert not await world.spool.waiting_in([], entries_max=3)
    await world.spool.settle_in({})


async def test_names_are_not_given_twice(world: World) -> None:
    room = uuid4()
    names: set[str] = set()
    for number in range(20):
        await publish(world, room, 1, start=number)
        waiting: list[SpooledMessage] = list(await world.spool.waiting(room, entries_max=9))
        assert [m.spool_id in names for m in waiting] == [False]
        names.add(waiting[0].spool_id)
        await world.spool.settle(room, [waiting[0].spool_id])


async def test_rooms_with_something_waiting_are_found_whoever_looks(world: World) -> None:
    rooms = [uuid4() for _ in range(25)]
    for room in rooms:
        await publish(world, room, 2)
    assert await found(world.spool, lambda seen: set(rooms) <= seen, rooms_max=4)
    for room in rooms[:-1]:
        names = [m.spool_id for m in await world.spool.waiting(room, entries_max=9)]
        await world.spool.settle(room, names)
    assert set(rooms) & await looked_through(world.other) == {rooms[-1]}
    await publish(world, rooms[0], 1, start=50)
    assert await found(world.other, lambda seen: rooms[0] in seen)


async def test_a_room_leaves_the_index_when_it_is_empty_and_long_not_noted(redis_url: str) -> None:
    async with redis_world(redis_url) as world, Redis.from_url(redis_url) as client:
        kept, empty, fresh = uuid4(), uuid4(), uuid4()
        for room in (kept, empty, fresh):
            await publish(world, room, 1)
        for room in (empty, fresh):
            await world.spool.settle(room, [m.spool_id for m in await world.spool.waiting(room, entries_max=9)])
        for room in (kept, empty):
            await client.zincrby(INDEX, -(NOTE_HOLDS_SECONDS + 1) * 1000, str(room))
        assert kept in await looked_through(world.spool)
        noted = [await client.zscore(INDEX, str(room)) is not None for room in (kept, empty, fresh)]
        assert noted == [True, False, True]
        assert not await client.exists(f"chat:{{{empty}}}:spool"), "no key is left behind"


async def test_what_the_index_has_lost_is_found_all_the_same(redis_url: str) -> None:
    async with redis_world(redis_url) as world, Redis.from_url(redis_url) as client:
        rooms = {uuid4() for _ in range(5)}
        for room in rooms:
            await publish(world, room, 1)
        await client.zrem(INDEX, *map(str, rooms))
        assert await found(world.spool, lambda seen: rooms <= seen, rooms_max=1_000)


async def test_nothing_in_the_spool_expires(redis_url: str) -> None:
    async with redis_world(redis_url) as world, Redis.from_url(redis_url) as client:
        room = uuid4()
        await publish(world, room, 1)
        assert await client.ttl(f"chat:{{{room}}}:spool") == -1
        assert await client.ttl(INDEX) == -1


async def test_a_gateway_notes_a_room_before_and_again_when_a_note_may_not_hold(redis_url: str) -> None:
    async with redis_client(RedisSettings(redis_url=SecretStr(redis_url))) as client:
        now, room = [0.0], uuid4()
        notes = SpoolNotes(RedisCalls(client), clock=lambda: now[0])

        async def noted() -> bool:
            """Whether it was noted since the last look."""
            return bool(await client.zrem(INDEX, str(room)))

        await notes.before(room)
        assert await noted(), "before the first message"
        await notes.after(room, "e1")
        await notes.before(room)
        await notes.after(room, "e1")
        assert not await noted(), "once is enough"
        await notes.after(room, "e2")
        assert await noted(), "the server has lost something"
        now[0] += NOTE_SECONDS + 1
        await notes.before(room)
        assert await noted(), "after a minute"
        now[0] += 3 * NOTE_SECONDS
        await notes.after(room, "e2")
        assert await noted(), "the process stood still between the note and the message"
