"""The port to accepted messages that are not in the database yet.

`Broker.publish` puts a message here by the same step that publishes it, so what was acknowledged is here until whoever
keeps messages for good says that they are there. A message leaves by its name alone: it may be read any number of
times, by anybody, and a reader that comes late removes nothing that it has not named. Backends: `spool_redis` and, for
tests, `spool_memory`; both pass tests/conformance/test_chat_spool.py. ADR 0086.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SpooledMessage:
    """A message that waits: its name in the room's spool, its place in the room, and its bytes as published."""

    spool_id: str
    offset: int
    epoch: str
    body: bytes


class Spool(Protocol):
    """What waits, room by room. Every method raises BrokerUnavailable when the server does not answer."""

    async def rooms(self, *, rooms_max: int) -> Sequence[UUID]:
        """Rooms with something waiting, at most so many.

        Ask again and again: a call looks at some of the rooms only, and takes turns.
        """
        ...

    async def waiting(self, room: UUID, *, entries_max: int) -> Sequence[SpooledMessage]:
        """The oldest that wait in a room, oldest first; they stay."""
        ...

    async def waiting_in(self, rooms: Sequence[UUID], *, entries_max: int) -> Sequence[Sequence[SpooledMessage]]:
        """The same of several rooms, in their order; ``entries_max`` is for each."""
        ...

    async def settle_in(self, spool_ids: Mapping[UUID, Sequence[str]]) -> None:
        """`settle` in several rooms; after an error some may be done."""
        ...

    async def settle(self, room: UUID, spool_ids: Sequence[str]) -> None:
        """These are kept for good: drop them. Names that are gone already do nothing."""
        ...

    async def depth(self, room: UUID) -> int:
        """How many wait in a room."""
        ...
