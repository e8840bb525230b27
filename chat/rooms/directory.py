"""Look-ups of rooms by the gateway, kept for a few seconds so that a crowd that joins costs one query."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import structlog

from chat.errors import RoomNotFound, RoomsUnavailable
from chat.rooms.facts import RoomFacts
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

KEPT_SECONDS = 3.0
KEPT_ROOMS_MAX = 10_000


FindRoom = Callable[[UUID], Awaitable[RoomFacts | None]]
FindVersions = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, int]]]


class Directory:
    """Answers from its memory while that is fresh, and with what it has when the table cannot be read."""

    def __init__(self, find: FindRoom, versions: FindVersions, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._versions = versions
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, RoomFacts | None]] = OrderedDict()

    async def find(self, room_id: UUID, *, anew: bool = False) -> RoomFacts:
        """The room, ``anew`` if it is known to have changed.

        Raises RoomNotFound, or RoomsUnavailable if nothing is known of it and the table is away.
        """
        kept = self._kept.get(room_id)
        if kept is None or anew or self._clock() - kept[0] > KEPT_SECONDS:
            try:
                kept = self._keep(room_id, await self._find(room_id))
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("chat_rooms_unavailable", reason=str(error) or type(error).__name__)
                if kept is None or anew:
                    raise RoomsUnavailable("the rooms cannot be read now") from error
        if kept[1] is None:
            raise RoomNotFound(room_id)
        return kept[1]

    async def versions(self, room_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """The versions that these rooms have now; raises RoomsUnavailable."""
        try:
            return await self._versions(room_ids)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            raise RoomsUnavailable("the rooms cannot be read now") from error

    def _keep(self, room_id: UUID, known: RoomFacts | None) -> tuple[float, RoomFacts | None]:
        kept = self._kept[room_id] = (self._clock(), known)
        self._kept.move_to_end(room_id)
        if len(self._kept) > KEPT_ROOMS_MAX:
            self._kept.popitem(last=False)
        return kept
