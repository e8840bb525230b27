"""Says again and again who is connected to this gateway, a bounded number at a time."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

import structlog

from chat import metrics
from chat.errors import BrokerUnavailable
from chat.presence.presence import Presence, Present
from chat.rooms.audience import Seat
from chat.rooms.entries import Role
from chat.rooms.room import Room
from runtime.backoff import jittered

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
AGAIN_SECONDS = 10.0
"""When somebody is said to be there again; a fraction of BELIEVED_SECONDS, so that one failure does no harm."""
PEOPLE_PER_CALL = 500
PEOPLE_PER_TICK_MAX = 5_000


class Attendance:
    """Notes the people of the open rooms. A service.

    Whoever comes is noted within a second, and again every AGAIN_SECONDS, spread so that a crowd that came at once is
    not noted at once for ever.
    """

    name = "chat-attendance"

    def __init__(
        self, presence: Presence, open_rooms: Callable[[], Iterable[Room]], *, tick_seconds: float = TICK_SECONDS
    ) -> None:
        self._presence = presence
        self._open_rooms = open_rooms
        self._tick_seconds = tick_seconds
        self._again_at: dict[UUID, dict[UUID, float]] = {}

    async def run(self) -> None:
        """Note until cancelled."""
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                await self.note_due()
            except BrokerUnavailable as error:
                log.info("chat_attendance_not_noted", reason=str(error))

    async def note_due(self) -> int:
        """Note those whose time it is; how many. Raises BrokerUnavailable."""
        rooms = {room.room_id: room for room in self._open_rooms()}
        for room_id in self._again_at.keys() - rooms.keys():
            del self._again_at[room_id]
        noted = 0
        for call in _calls(
            [
                (room.room_id, self._due(room))
                for room in rooms.values()
                if room.people or self._again_at.get(room.room_id)
            ]
        ):
            await self._note(call)
            noted += sum(map(len, call.values()))
        return noted

    async def _note(self, people: Mapping[UUID, Sequence[Present]]) -> None:
        await self._presence.note(people)
        now = _now()
        for room_id, those in people.items():
            metrics.people_noted.inc(len(those))
            again_at = self._again_at.get(room_id, {})
            for person in those:
                again_at[person.user_id] = now + jittered(AGAIN_SECONDS, 0.75, 1.0)

    def _due(self, room: Room) -> list[Present]:
        again_at, now = self._again_at.setdefault(room.room_id, {}), _now()
        for user_id in again_at.keys() - room.people.keys():
            del again_at[user_id]
        return [
            _present(room.room_id, user_id, seats)
            for user_id, seats in room.people.items()
            if seats and again_at.get(user_id, 0.0) <= now
        ]


def _calls(due: Iterable[tuple[UUID, Sequence[Present]]]) -> Iterator[dict[UUID, list[Present]]]:
    """At most PEOPLE_PER_TICK_MAX of those who are due, in calls of PEOPLE_PER_CALL, over rooms."""
    every = ((room_id, person) for room_id, people in due for person in people)
    allowed = itertools.islice(every, PEOPLE_PER_TICK_MAX)
    while some := list(itertools.islice(allowed, PEOPLE_PER_CALL)):
        call: dict[UUID, list[Present]] = {}
        for room_id, person in some:
            call.setdefault(room_id, []).append(person)
        yield call


def _present(room_id: UUID, user_id: UUID, seats: Iterable[Seat]) -> Present:
    username, role = "", "viewer"
    for seat in seats:
        username = seat.username
        if seat.moderates:
            role = "moderator"
    shown: Role = "streamer" if user_id == room_id else "moderator" if role == "moderator" else "viewer"
    return Present(user_id, username, shown)


def _now() -> float:
    return asyncio.get_running_loop().time()
