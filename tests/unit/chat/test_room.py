"""A room over the memory broker: joins and flushes never leave a hole, and what is lost is told."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat import frames
from chat.audience import Seat
from chat.broker import Conditions, Position, Retention
from chat.broker_memory import MemoryBroker, MemoryServer
from chat.entries import Deleted, message_body, to_body
from chat.facts import RoomFacts
from chat.room import Room, RoomLimits
from chat.rules import Rules
from chat.signals import HeldTouched, RoomTouched, StandingTouched

LIMITS = RoomLimits(tick_seconds=0.02, history_messages_max=5, recovery_messages_max=40)


def split(blob: bytes) -> list[dict[str, Any]]:
    """The JSON of each WebSocket frame in a piece of bytes."""
    found = []
    while blob:
        assert blob[0] == 0x81
        size, head = blob[1], 2
        if size == 126:
            size, head = int.from_bytes(blob[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(blob[2:10], "big"), 10
        found.append(json.loads(blob[head : head + size]))
        blob = blob[head + size :]
    return found


@dataclass(eq=False)
class Client:
    """A member that remembers its frames and keeps its position as the protocol says."""

    writes: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    position: Position | None = None
    gaps: int = 0
    seat: Seat | None = None

    def write(self, frames: bytes) -> None:
        self.writes.append(frames)
        for frame in split(frames):
            if frame["type"] == "messages":
                self.take(frame["messages"], frame["epoch"])
            elif frame["type"] == "gap":
                self.gaps += 1
                self.offsets.append(-1)
                self.take(frame["history"], frame["epoch"])
                self.position = Position(frame["offset"], frame["epoch"])

    def take(self, messages: list[dict[str, Any]], epoch: str) -> None:
        for message in messages:
            self.offsets.append(message["offset"])
            self.texts.append(message.get("text", ""))
            self.position = Position(message["offset"], epoch)

    @property
    def kinds(self) -> list[str]:
        return [frame["type"] for blob in self.writes for frame in split(blob)]

    @property
    def place(self) -> Seat:
        assert self.seat is not None
        return self.seat

    async def join(self, room: Room, since: Position | None = None, *, moderates: bool = False) -> bool:
        await room.ready()
        start = await room.start_after(since, moderates=moderates)
        self.position = start.position
        for message in start.history:
            self.offsets.append(json.loads(message)["offset"])
            self.texts.append(json.loads(message).get("text", ""))
        self.seat = Seat(self, frames.CHAT_FRAMES, moderates=moderates)
        room.join(self.seat)
        return start.recovered

    def leave(self, room: Room) -> None:
        if self.seat is not None:
            room.leave(self.seat)


@dataclass
class World:
    server: MemoryServer
    links: list[MemoryBroker]
    rooms: list[Room]
    room_id: UUID
    said: int = 0

    async def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.said += 1
            body = message_body(uuid4(), uuid4(), "ann", f"t{self.said}", datetime.now(UTC))
            await self.links[0].publish(self.room_id, f"m{self.said}", body, Conditions())

    async def post(self, body: bytes) -> None:
        await self.links[0].publish(self.room_id, str(uuid4()), body, Conditions())


@asynccontextmanager
async def world_of(gateways: int, limits: RoomLimits = LIMITS) -> AsyncIterator[World]:
    server = MemoryServer(Retention(entries_max=50))
    links = [MemoryBroker(server) for _ in range(gateways)]
    room_id = uuid4()
    rooms = [Room(room_id, link, limits) for link in links]
    tasks = [asyncio.create_task(room.run()) for room in rooms]
    for link, room in zip(links, rooms, strict=True):
        link.listen(room_id, room)
    try:
        yield World(server, links, rooms, room_id)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_of(1) as made:
        yield made


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  a condition with a deadline
            await asyncio.sleep(0.002)


async def test_a_quiet_room_sends_at_once_and_a_busy_one_in_ticks() -> None:
    async with world_of(1, RoomLimits(tick_seconds=0.2)) as world:
        client = Client()
        await client.join(world.rooms[0])
        await asyncio.sleep(0.21)  # what the opening flushed is a tick ago
        loop = asyncio.get_running_loop()
        started = loop.time()
        await world.say()
        await until(lambda: len(client.writes) == 1)
        assert loop.time() - started < 0.2, "before the next tick"
        await world.say(20)
        await until(lambda: len(client.offsets) == 21)
        assert 0.15 < loop.time() - started < 1.0
        assert len(client.writes) == 2, "twenty messages of one tick are one write"


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


async def test_deletions_take_text_out_of_history_recovery_and_what_waits(world: World) -> None:
    room, stays = world.rooms[0], Client()
    await stays.join(room)
    start = stays.position
    secret, other = uuid4(), uuid4()
    await world.post(message_body(secret, uuid4(), "ann", "secret", datetime.now(UTC)))
    await world.post(message_body(other, uuid4(), "bob", "stays", datetime.now(UTC)))
    await until(lambda: len(stays.offsets) == 2)
    await world.post(to_body(Deleted(message_id=secret)))
    await until(lambda: len(stays.offsets) == 3)
    assert stays.offsets == [1, 2, 3], "a deletion is an entry"
    late, returning = Client(), Client()
    await late.join(room)
    assert await returning.join(room, start)
    for client in (late, returning):
        assert client.offsets == [1, 2, 3]
        assert "secret" not in client.texts
        assert "stays" in client.texts
    assert room.find_said(secret) is None
    assert room.find_said(other) is not None


async def test_with_a_delay_moderators_see_first_and_what_is_deleted_meanwhile_is_never_shown(world: World) -> None:
    room, viewer, moderator = world.rooms[0], Client(), Client()
    await room.ready()
    room.learn(RoomFacts(world.room_id, "ann", None, rules=Rules(delay_seconds=1)))
    await viewer.join(room)
    await moderator.join(room, moderates=True)
    secret = uuid4()
    await world.post(message_body(secret, uuid4(), "ann", "secret", datetime.now(UTC)))
    await until(lambda: moderator.texts == ["secret"])
    assert not viewer.offsets
    latecomer = Client()
    await latecomer.join(room)
    assert not latecomer.texts, "history is not ahead of the delay either"
    assert not room.promote(viewer.place, moderates=True), "a viewer cannot skip what waits"
    await world.post(to_body(Deleted(message_id=secret)))
    await until(lambda: len(viewer.offsets) == len(latecomer.offsets) == 2)
    for client in (viewer, latecomer):
        assert client.offsets == [1, 2]
        assert "secret" not in client.texts
    assert room.promote(viewer.place, moderates=True)
    await world.say()
    await until(lambda: len(viewer.offsets) == 3 and len(moderator.offsets) == 3)
    assert viewer.offsets == moderator.offsets == [1, 2, 3]


async def test_a_delay_that_ends_holds_nothing_back(world: World) -> None:
    room, viewer = world.rooms[0], Client()
    await room.ready()
    room.learn(RoomFacts(world.room_id, "ann", None, rules=Rules(delay_seconds=10)))
    await viewer.join(room)
    await world.say(3)
    await asyncio.sleep(0.05)
    assert not viewer.offsets
    room.learn(RoomFacts(world.room_id, "ann", None, version=1))
    await until(lambda: len(viewer.offsets) == 3)
    await world.say()
    await until(lambda: viewer.offsets == [1, 2, 3, 4])


async def test_only_moderators_hear_what_is_for_them(world: World) -> None:
    room, viewer, moderator = world.rooms[0], Client(), Client()
    await viewer.join(room)
    await moderator.join(room, moderates=True)
    room.signalled(HeldTouched().model_dump_json().encode())
    await until(lambda: moderator.kinds == ["held"])
    await world.say()
    await until(lambda: bool(viewer.offsets))
    assert viewer.kinds == ["messages"]


async def test_a_standing_signal_reaches_the_seats_of_that_person_alone(world: World) -> None:
    room, ann, bob = world.rooms[0], uuid4(), uuid4()
    touched: list[UUID] = []
    await room.ready()
    for user in (ann, ann, bob):
        room.join(Seat(Client(), frames.CHAT_FRAMES, user, touched=partial(touched.append, user)))
    room.signalled(StandingTouched(user_id=ann).model_dump_json().encode())
    assert touched == [ann, ann]
