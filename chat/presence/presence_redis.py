"""Presence in Redis: per room a set of people by the time until which they are believed, and one by name.

All keys of a room share a hash tag and every script touches one room, so a cluster works. Of roles only those that are
not everybody's are kept.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from redis.asyncio import Redis

from chat.brokers.redis_calls import RedisCalls, milliseconds, room_key
from chat.presence.presence import BELIEVED_SECONDS, Present, PresentPage

ORDINARY_ROLE = "viewer"


class RedisPresence:
    """Notes and lists through scripts."""

    def __init__(self, redis: Redis, *, believed_seconds: float = BELIEVED_SECONDS) -> None:
        self._calls = RedisCalls(redis)
        self._believed_ms = milliseconds(believed_seconds)
        self._note = self._calls.script("forget_gone_people", "note_people")
        self._list = self._calls.script("forget_gone_people", "list_people")

    async def note(self, people: Mapping[UUID, Sequence[Present]]) -> None:
        """See the port."""
        await self._calls.run_in(
            self._note, {room: (_keys(room), self._said(those)) for room, those in people.items() if those}
        )

    def _said(self, people: Sequence[Present]) -> list[str | bytes | int]:
        """The arguments of `note_people.lua`."""
        said: list[str | bytes | int] = [self._believed_ms]
        for person in people:
            role = "" if person.role == ORDINARY_ROLE else person.role
            said.extend((_place(person.username, person.user_id), role))
        return said

    async def page(
        self, room: UUID, *, after: tuple[str, UUID] | None = None, prefix: str = "", people_max: int
    ) -> PresentPage:
        """See the port."""
        first = "-" if not prefix else f"[{prefix}"
        last: str | bytes = "+" if not prefix else f"[{prefix}".encode() + b"\xff"
        if after is not None and _place(*after) >= prefix:
            first = f"({_place(*after)}"
        chatters, flat = await self._calls.run(self._list, _keys(room), [first, last, people_max])
        people = [_present(place, role) for place, role in zip(flat[::2], flat[1::2], strict=True)]
        return PresentPage(tuple(people), int(chatters))


def _keys(room: UUID) -> list[str]:
    return [room_key(room, what) for what in ("people", "people-by-name", "people-roles")]


def _place(username: str, user_id: UUID) -> str:
    """How somebody sorts: by name, and among those of one name by id. A space sorts before letters."""
    return f"{username} {user_id}"


def _present(place: bytes, role: bytes) -> Present:
    username, _, user_id = place.decode().rpartition(" ")
    return Present(UUID(user_id), username, role.decode() or ORDINARY_ROLE)  # type: ignore[arg-type]  # as a gateway wrote it
