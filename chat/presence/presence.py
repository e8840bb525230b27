"""The port to who is in a room now: people who are logged in, over all gateways, by name.

Every gateway says again and again who is connected to it, and each is believed for seconds. So somebody who leaves, and
everybody of a gateway that dies, is gone soon without anybody having to say it, and somebody with connections to
several gateways is there once. Backends: `presence_redis` and, for tests, `presence_memory`; both pass
tests/conformance/test_chat_presence.py. ADR 0088.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from chat.rooms.entries import Role

BELIEVED_SECONDS: Final = 25.0
"""How long somebody is taken to be there after a gateway said so."""


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody who is in a room."""

    user_id: UUID
    username: str
    role: Role = "viewer"


@dataclass(frozen=True, slots=True)
class PresentPage:
    """Some of those who are there, by username, and how many there are in all."""

    people: tuple[Present, ...]
    chatters: int


class Presence(Protocol):
    """Notes and lists. Every method raises BrokerUnavailable when the server does not answer."""

    async def note(self, people: Mapping[UUID, Sequence[Present]]) -> None:
        """These are in these rooms, for the next BELIEVED_SECONDS. Give a bounded number at a time."""
        ...

    async def page(
        self, room: UUID, *, after: tuple[str, UUID] | None = None, prefix: str = "", people_max: int
    ) -> PresentPage:
        """Those behind ``after`` (a username and id) whose name begins with ``prefix``; the count is of everybody."""
        ...
