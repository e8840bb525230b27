"""Finds rooms by the names of their channels, as IRC joins them."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog

from chat.errors import RoomsUnavailable
from chat.store import QUERIES
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

NAME_CHARACTERS_MAX: Final = 64

FindRoom = Callable[[str], Awaitable[UUID | None]]
"""The room of a channel's name, if there is one; raises RoomsUnavailable."""


def channel_name(param: str) -> str | None:
    """The name in ``#name``, or None for what can be no channel."""
    name = param.removeprefix("#").lower()
    return name if param.startswith("#") and 0 < len(name) <= NAME_CHARACTERS_MAX else None


def find_by_name(pool: Pool) -> FindRoom:
    """Looks in the table of rooms."""

    async def find(name: str) -> UUID | None:
        try:
            row = await QUERIES.find_room_by_name(pool, channel_name=name)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("chat_rooms_unavailable", reason=str(error) or type(error).__name__)
            raise RoomsUnavailable("the rooms cannot be read now") from error
        room_id: UUID | None = None if row is None else row["channel_id"]
        return room_id

    return find
