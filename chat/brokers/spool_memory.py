"""The spool's twin without a server, for tests: what `broker_memory.MemoryServer` has."""

from collections.abc import Mapping, Sequence
from itertools import islice
from uuid import UUID

from chat.brokers.broker_memory import MemoryServer
from chat.brokers.spool import SpooledMessage
from chat.errors import BrokerUnavailable


class MemorySpool:
    """Reads what waits on a `MemoryServer`, and drops what is kept."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._from = 0

    async def rooms(self, *, rooms_max: int) -> Sequence[UUID]:
        self._reach()
        rooms = self._server.spooled_rooms()[self._from : self._from + rooms_max]
        self._from = self._from + rooms_max if len(rooms) == rooms_max else 0
        return rooms

    async def waiting(self, room: UUID, *, entries_max: int) -> Sequence[SpooledMessage]:
        return list(islice(self._reach().room(room).spool.values(), entries_max))

    async def settle(self, room: UUID, spool_ids: Sequence[str]) -> None:
        spool = self._reach().room(room).spool
        for spool_id in spool_ids:
            spool.pop(spool_id, None)

    async def waiting_in(self, rooms: Sequence[UUID], *, entries_max: int) -> Sequence[Sequence[SpooledMessage]]:
        return [await self.waiting(room, entries_max=entries_max) for room in rooms]

    async def settle_in(self, spool_ids: Mapping[UUID, Sequence[str]]) -> None:
        for room, names in spool_ids.items():
            await self.settle(room, names)

    async def depth(self, room: UUID) -> int:
        return len(self._reach().room(room).spool)

    def _reach(self) -> MemoryServer:
        if self._server.away:
            raise BrokerUnavailable("the server is away")
        return self._server
