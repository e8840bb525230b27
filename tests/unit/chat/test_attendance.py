"""Who is connected to a gateway is noted soon, again in time, and a bounded number at once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID, uuid4

import pytest

from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.errors import BrokerUnavailable
from chat.presence import attendance as attending
from chat.presence.attendance import PEOPLE_PER_CALL, PEOPLE_PER_TICK_MAX, Attendance
from chat.presence.presence import BELIEVED_SECONDS, Present
from chat.presence.presence_memory import MemoryPresence
from chat.rooms.audience import Seat
from chat.rooms.room import Room
from chat.sockets.frames import CHAT_FRAMES
from tests.unit.chat.room_world import LIMITS, Client


class CountedPresence(MemoryPresence):
    """Remembers how many it was told of at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    async def note(self, people: Mapping[UUID, Sequence[Present]]) -> None:
        """See the port."""
        await super().note(people)
        self.calls.append(sum(map(len, people.values())))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    yield Room(uuid4(), MemoryBroker(MemoryServer()), LIMITS)


def enter(room: Room, name: str, *, user_id: UUID | None = None, moderates: bool = False) -> Seat:
    seat = Seat(Client(), CHAT_FRAMES, user_id=user_id or uuid4(), username=name, moderates=moderates)
    room.join(seat)
    return seat


async def roles(presence: MemoryPresence, room: Room) -> list[tuple[str, str]]:
    page = await presence.page(room.room_id, people_max=100)
    return [(person.username, person.role) for person in page.people]


async def test_everybody_is_noted_once_with_their_role_and_readers_are_not(room: Room) -> None:
    presence = CountedPresence()
    attendance = Attendance(presence, lambda: [room])
    ann = uuid4()
    enter(room, "ann", user_id=ann)
    enter(room, "ann", user_id=ann, moderates=True)
    enter(room, "streamer", user_id=room.room_id, moderates=True)
    enter(room, "bob")
    room.join(Seat(Client(), CHAT_FRAMES))
    assert await attendance.note_due() == 3
    assert await roles(presence, room) == [("ann", "moderator"), ("bob", "viewer"), ("streamer", "streamer")]
    assert await attendance.note_due() == 0, "they were noted a moment ago"
    enter(room, "cy")
    assert await attendance.note_due() == 1


async def test_whoever_left_is_noted_no_more_and_at_once_when_back(room: Room) -> None:
    presence = CountedPresence()
    attendance = Attendance(presence, lambda: [room])
    seat = enter(room, "ann")
    await attendance.note_due()
    room.leave(seat)
    assert await attendance.note_due() == 0
    room.join(seat)
    assert await attendance.note_due() == 1


async def test_a_crowd_is_noted_in_bounded_calls_over_several_ticks(room: Room) -> None:
    presence = CountedPresence()
    attendance = Attendance(presence, lambda: [room])
    for number in range(PEOPLE_PER_TICK_MAX + 700):
        enter(room, f"user{number}")
    assert await attendance.note_due() == PEOPLE_PER_TICK_MAX
    assert await attendance.note_due() == 700
    assert max(presence.calls) == PEOPLE_PER_CALL


async def test_what_could_not_be_noted_is_noted_as_soon_as_it_can(room: Room) -> None:
    presence = CountedPresence()
    attendance = Attendance(presence, lambda: [room])
    enter(room, "ann")
    presence.away = True
    with pytest.raises(BrokerUnavailable):
        await attendance.note_due()
    presence.away = False
    assert await attendance.note_due() == 1


def test_somebody_is_noted_again_twice_before_they_are_forgotten() -> None:
    assert 2 * (attending.AGAIN_SECONDS + attending.TICK_SECONDS) < BELIEVED_SECONDS
