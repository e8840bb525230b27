"""Look-ups of rooms by the gateway, kept for a few seconds so that a crowd that joins costs one query."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from asyncpg import InterfaceError

from chat.errors import RoomNotFound, RoomsUnavailable
from chat.store import KnownRoom
from runtime.unavailable import UNAVAILABLE, is_unavailable

log = structlog.get_logger(__name__)

KEPT_SECONDS = 3.0
KEPT_ROOMS_MAX = 10_000

_AWAY: tuple[type[Exception], ...] = (*UNAVAILABLE, InterfaceError)

FindRoom = Callable[[UUID], Awaitable[KnownRoom | None]]


class Directory:
    """Answers from its memory while that is fresh, and with what it has when the table cannot be read."""

    def __init__(self, find: FindRoom, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, KnownRoom | None]] = OrderedDict()

    async def find(self, room_id: UUID) -> KnownRoom:
        """The room; raises RoomNotFound, or RoomsUnavailable if nothing is known of it and the table is away."""
        kept = self._kept.get(room_id)
        if kept is None or self._clock() - kept[0] > KEPT_SECONDS:
            try:
                kept = self._keep(room_id, await self._find(room_id))
            except _AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("chat_rooms_unavailable", reason=str(error) or type(error).__name__)
                if kept is None:
                    raise RoomsUnavailable("the rooms cannot be read now") from error
        if kept[1] is None:
            raise RoomNotFound(room_id)
        return kept[1]

    def _keep(self, room_id: UUID, known: KnownRoom | None) -> tuple[float, KnownRoom | None]:
        kept = self._kept[room_id] = (self._clock(), known)
        self._kept.move_to_end(room_id)
        if len(self._kept) > KEPT_ROOMS_MAX:
            self._kept.popitem(last=False)
        return kept
