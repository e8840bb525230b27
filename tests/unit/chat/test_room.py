"""A room over the memory broker: joins and flushes never leave a hole, and what is lost is told."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pytest

from chat.brokers.broker import Position
from chat.rooms.audience import MEMBERS_PER_SHARD, MEMBERS_WITHOUT_TURN_MAX, Seat
from chat.rooms.entries import message_body
from chat.rooms.facts import RoomFacts
from chat.rooms.room import RoomLimits
from chat.rooms.signals import RoomTouched
from chat.sockets import frames
from chat.speaking.rules import Rules
from tests.unit.chat.room_world import Client, World, split, until, world_of

BODY = message_body(uuid4(), uuid4(), "ann", "hi", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_of(1) as made:
        yield made


async def test_a_quiet_room_sends_at_once_and_a_busy_one_in_ticks() -> None:
    passed = [0.0]
    async with world_of(1, RoomLimits(tick_seconds=3.0), lambda: time.monotonic() + passed[0]) as world:
        client = Client()
        await client.join(world.rooms[0])
        await asyncio.sleep(0.05)  # what opens it is done
        passed[0] = 3.01  # and a tick ago
        loop = asyncio.get_running_loop()
        started = loop.time()
        await world.say()
        await until(lambda: len(client.writes) == 1)
        assert loop.time() - started < 3.0, "before the next tick"
        await world.say(20)
        await until(lambda: len(client.offsets) == 21)
        assert loop.time() - started > 1.5, "half a tick of slack"
        assert len(client.writes) == 2, "twenty messages of one tick are one write"


async def test_a_small_quiet_room_is_flushed_where_it_hears() -> None:
    async with world_of(1, RoomLimits(tick_seconds=0.05)) as world:
        few, many = Client(), [Client() for _ in range(MEMBERS_WITHOUT_TURN_MAX)]
        await few.join(world.rooms[0])
        await asyncio.sleep(0.06)  # what the opening flushed is a tick ago
        heard = Position(1, few.position.epoch if few.position else "")
        world.rooms[0].published(heard, BODY)
        assert few.offsets == [1], "no turn of the event loop has passed"
        for client in many:
            await client.join(world.rooms[0])
        await asyncio.sleep(0.06)
        world.rooms[0].published(replace(heard, offset=2), BODY)
        assert few.offsets == [1], "so many are told by the room's task"
        await until(lambda: few.offsets == many[0].offsets == many[-1].offsets == [1, 2])


async def test_what_is_heard_while_a_flush_is_on_its_way_follows_it() -> None:
    async with world_of(1, RoomLimits(tick_seconds=0.0)) as world:
        clients = [Client() for _ in range(MEMBERS_PER_SHARD + 1)]
        for client in clients:
            await client.join(world.rooms[0])
        first, last = clients[0], clients[-1]
        heard = Position(1, first.position.epoch if first.position else "")
        world.rooms[0].published(heard, BODY)
        while not first.offsets:  # noqa: ASYNC110  turn by turn
            await asyncio.sleep(0)
        assert not last.offsets, "the second shard waits for its turn"
        for client in clients[:-1]:
            client.leave(world.rooms[0])
        world.rooms[0].published(replace(heard, offset=2), BODY)
        await until(lambda: len(last.offsets) == 2)
        assert last.offsets == [1, 2]


async def test_all_members_get_the_same_bytes(world: World) -> None:
    clients = [Client() for _ in range(3)]
    for client in clients:
        await client.join(world.rooms[0])
    await world.say(3)
    await until(lambda: len(clients[2].offsets) == 3)
    assert clients[0].writes == clients[1].writes == clients[2].writes
    assert clients[0].writes[0] is clients[1].writes[0], "built once, shared by all"


async def test_spliced_frames_fit_the_models(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(2)
    await until(lambda: len(client.offsets) == 2)
    for blob in client.writes:
        for frame in split(blob):
            frames.SERVER_FRAME.validate_json(json.dumps(frame))


async def test_joins_during_traffic_have_neither_hole_nor_double(world: World) -> None:
    stop = asyncio.Event()

    async def talk() -> None:
        while not stop.is_set():
            await world.say(random.randrange(1, 4))
            await asyncio.sleep(random.random() * 0.004)

    talking = asyncio.create_task(talk())
    clients: list[Client] = []
    for _ in range(200):
        client = Client()
        await client.join(world.rooms[0])
        clients.append(client)
        await asyncio.sleep(random.random() * 0.004)
    stop.set()
    await talking
    await until(lambda: all(client.position and client.position.offset == world.said for client in clients))
    for client in clients:
        assert client.offsets == list(range(client.offsets[0], world.said + 1))


async def test_history_is_bounded(world: World) -> None:
    await Client().join(world.rooms[0])
    await world.say(30)
    await until(lambda: world.rooms[0].available)
    await asyncio.sleep(0.05)
    late = Client()
    assert not await late.join(world.rooms[0])
    assert late.offsets == [26, 27, 28, 29, 30]


async def test_a_returning_member_gets_exactly_what_it_missed(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(10)
    await until(lambda: len(client.offsets) == 10)
    client.leave(world.rooms[0])
    await world.say(20)
    assert await client.join(world.rooms[0], client.position)
    await world.say(1)
    await until(lambda: client.offsets == list(range(1, 32)))


async def test_recovery_is_bounded() -> None:
    async with world_of(1, RoomLimits(tick_seconds=0.01, recovery_messages_max=10)) as world:
        client = Client()
        await client.join(world.rooms[0])
        await world.say(11)
        await until(lambda: len(client.offsets) == 11)
        epoch = client.position.epoch if client.position else ""
        assert not await Client().join(world.rooms[0], Position(0, epoch)), "eleven are more than ten"
        returning = Client()
        assert await returning.join(world.rooms[0], Position(1, epoch))
        assert returning.offsets == list(range(2, 12))


async def test_a_position_of_the_past_epoch_is_told_not_recovered(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(3)
    await until(lambda: len(client.offsets) == 3)
    assert not await Client().join(world.rooms[0], Position(2, "another"))
    assert not await Client().join(world.rooms[0], Position(999, client.position.epoch if client.position else ""))


async def test_a_lost_subscription_is_made_good(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(5)
    world.links[0].drop()
    await world.say(7)
    world.links[0].restore()
    await world.say(2)
    await until(lambda: len(client.offsets) == 14)
    assert client.offsets == list(range(1, 15))
    assert client.gaps == 0


async def test_what_is_said_during_a_read_follows_it(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(2)
    world.server.answers.clear()
    world.links[0].drop()
    await world.say(2)
    world.links[0].restore()
    await asyncio.sleep(0.05)
    await world.say(2)
    world.server.answers.set()
    await until(lambda: client.offsets == [1, 2, 3, 4, 5, 6])


async def test_a_subscription_that_is_lost_during_a_read_is_read_again(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(2)
    world.server.answers.clear()
    world.links[0].drop()
    world.links[0].restore()
    await asyncio.sleep(0.05)
    world.links[0].drop()
    await world.say(2)
    world.links[0].restore()
    world.server.answers.set()
    await until(lambda: client.offsets == [1, 2, 3, 4])
    assert client.gaps == 0


async def test_members_are_told_of_unavailability_and_of_its_end(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    world.server.go_away()
    await until(lambda: client.kinds == ["status"])
    assert split(client.writes[0]) == [{"type": "status", "chat": "unavailable"}]
    world.server.come_back()
    await until(lambda: client.kinds == ["status", "status"])
    assert split(client.writes[1]) == [{"type": "status", "chat": "available"}]


async def test_what_cannot_be_recovered_is_told_to_everyone(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(5)
    await until(lambda: len(client.offsets) == 5)
    world.links[0].drop()
    await world.say(60)  # the server keeps 50 and the room takes 40
    world.links[0].restore()
    await until(lambda: client.gaps == 1)
    await world.say(1)
    await until(lambda: client.offsets[-1] == 66)
    assert client.offsets == [1, 2, 3, 4, 5, -1, 61, 62, 63, 64, 65, 66]


async def test_a_server_that_lost_everything_is_told_as_a_gap(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(5)
    await until(lambda: len(client.offsets) == 5)
    world.server.lose_everything()
    await world.say(3)
    await until(lambda: client.gaps == 1 and client.texts[-1] == "t8")
    await world.say(2)
    await until(lambda: client.texts[-1] == "t10")
    assert client.offsets == [1, 2, 3, 4, 5, -1, 1, 2, 3, 4, 5]


async def test_a_message_that_never_arrived_is_noticed_by_its_offset(world: World) -> None:
    client = Client()
    await client.join(world.rooms[0])
    await world.say(2)
    await until(lambda: len(client.offsets) == 2)
    world.links[0]._connected = False  # one message passes unheard and nothing tells so
    await world.say(1)
    world.links[0]._connected = True
    await world.say(1)
    await until(lambda: len(client.offsets) == 4)
    assert client.offsets == [1, 2, 3, 4]


async def test_members_are_told_once_what_is_different_about_the_room(world: World) -> None:
    client, room = Client(), world.rooms[0]
    await client.join(room)
    facts = RoomFacts(world.room_id, "ann", uuid4(), version=1)
    room.learn(facts)
    room.learn(facts)
    room.learn(replace(facts, version=2, rules=Rules(slow_seconds=5)))
    await world.say()
    await until(lambda: bool(client.offsets))
    assert client.kinds == ["room", "rules", "messages"]


async def test_a_signal_has_the_room_looked_up_and_an_unknown_one_has_not(world: World) -> None:
    room = world.rooms[0]
    await room.ready()
    room.look_up_again = False
    room.signalled(b'{"about":"something-newer"}')
    room.signalled(b"no JSON")
    assert not room.look_up_again
    room.signalled(RoomTouched().model_dump_json().encode())
    assert room.look_up_again


async def test_who_is_in_a_room_that_ends_or_on_the_way_there_is_told(world: World) -> None:
    room = world.rooms[0]
    told: list[int] = []
    await room.ready()
    seats = [
        Seat(Client(), frames.CHAT_FRAMES, user_id=user_id, moderates=moderates)
        for user_id, moderates in ((None, False), (uuid4(), False), (uuid4(), True))
    ]
    for number, seat in enumerate(seats):
        seat.touched = partial(told.append, number)
        room.join(seat)
    assert told == []
    room.end()
    assert sorted(told) == [0, 1, 2]
    late = Seat(Client(), frames.CHAT_FRAMES, touched=partial(told.append, 3))
    room.join(late)
    assert told[3:] == [3]


async def test_a_leaver_gets_nothing_more(world: World) -> None:
    client, stays = Client(), Client()
    await client.join(world.rooms[0])
    await stays.join(world.rooms[0])
    client.leave(world.rooms[0])
    client.leave(world.rooms[0])
    await world.say()
    await until(lambda: bool(stays.offsets))
    assert client.writes == []


@pytest.mark.parametrize("seed", range(8))
async def test_random_faults_leave_every_client_gapless_or_told(seed: int) -> None:
    """Two gateways, clients that come and go, links that drop, a server that forgets: never a silent hole."""
    rng = random.Random(seed)
    async with world_of(2) as world:
        clients = [Client() for _ in range(6)]
        where = [rng.randrange(2) for _ in clients]
        for client, gateway in zip(clients, where, strict=True):
            await client.join(world.rooms[gateway])
        for _ in range(120):
            await _something(rng, world, clients, where)
        for link in world.links:
            link.restore()
        await world.say(3)
        last = f"t{world.said}"
        await until(lambda: all(client.texts[-1:] == [last] for client in clients))
    for client in clients:
        _assert_no_silent_hole(client)


async def _something(rng: random.Random, world: World, clients: list[Client], where: list[int]) -> None:
    kind = rng.choices(["say", "drop", "restore", "lose", "move", "wait"], [12, 1, 2, 0.3, 3, 4])[0]
    if kind == "say":
        await world.say(rng.randrange(1, 6))
    elif kind == "drop":
        rng.choice(world.links).drop()
    elif kind == "restore":
        rng.choice(world.links).restore()
    elif kind == "lose":
        world.server.lose_everything()
    elif kind == "wait":
        await asyncio.sleep(rng.random() * 0.02)
    else:
        number = rng.randrange(len(clients))
        clients[number].leave(world.rooms[where[number]])
        where[number] = rng.randrange(2)
        mark = len(clients[number].offsets)
        if not await clients[number].join(world.rooms[where[number]], clients[number].position):
            clients[number].offsets.insert(mark, -1)


def _assert_no_silent_hole(client: Client) -> None:
    """Between two tellings of a possible loss the offsets count up by one."""
    before: int | None = None
    for offset in client.offsets:
        assert before in (None, -1) or offset in (-1, (before or 0) + 1), client.offsets
        before = offset


async def test_what_has_a_second_goes_with_what_is_said_meanwhile_and_else_by_itself() -> None:
    async with world_of(1) as world:
        room = world.rooms[0]
        client = Client()
        await client.join(room)
        room.notify_soon(frames.Presence(chatters=7))
        await world.say()
        await until(lambda: client.texts == ["t1"])
        assert client.kinds == ["presence", "messages"]
        assert len(client.writes) == 1
        room.notify_soon(frames.Presence(chatters=8))
        await until(lambda: client.kinds == ["presence", "messages", "presence"])


async def test_notices_before_a_message_do_not_make_it_wait() -> None:
    async with world_of(1, RoomLimits(tick_seconds=8.0)) as world:
        room, client = world.rooms[0], Client()
        await client.join(room)
        for number in range(1, 6):
            room.notify(frames.Presence(chatters=number))
            await until(partial(_has_frames, client, number))
        began = asyncio.get_running_loop().time()
        await world.say()
        await until(lambda: client.texts == ["t1"])
        assert asyncio.get_running_loop().time() - began < 4.0


def _has_frames(client: Client, count: int) -> bool:
    return len(client.kinds) == count
