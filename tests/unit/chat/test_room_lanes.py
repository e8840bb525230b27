"""What deletions take away, what a delay holds back, and who hears what in a room."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import pytest

from chat.rooms.audience import Seat
from chat.rooms.entries import Deleted, message_body, to_body
from chat.rooms.facts import RoomFacts
from chat.rooms.signals import HeldTouched, StandingTouched
from chat.sockets import frames
from chat.speaking.rules import Rules
from tests.unit.chat.room_world import Client, World, until, world_of


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with world_of(1) as made:
        yield made


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
