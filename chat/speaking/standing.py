"""What one person may do in one room: looked up when they join, and again when something about it changed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from asyncpg import Record

from chat.errors import RoomsUnavailable
from chat.rooms.entries import Role
from runtime.ids import uuid7_time
from runtime.postgres import Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

QUERIES = load_queries("chat")

STANDING_BELIEVED_SECONDS = 60.0
"""A standing that is older is looked up again before the next message."""

FOR_GOOD = datetime.max.replace(tzinfo=UTC)
"""The end of a ban."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A person in a room. Times are of the database's clock."""

    role: Role = "viewer"
    banned_until: datetime | None = None
    """Silent until then; far in the future for a ban, None if neither."""
    banned: bool = False
    """The ban has no end."""
    followed_at: datetime | None = None
    registered_at: datetime | None = None
    known_as: str | None = None
    """Under which name chat keeps them; None if under none yet."""

    @property
    def moderates(self) -> bool:
        """Whether the room's rules do not bind them, and they see what moderators see."""
        return self.role in ("streamer", "moderator")


class Standings(Protocol):
    """Where standings come from."""

    async def find(self, room: UUID, user: UUID) -> Standing:
        """The standing now; raises RoomsUnavailable when it cannot be read."""
        ...


class OwnersAlone:
    """Knows only that a room is its streamer's; for tests and for what needs no tables."""

    async def find(self, room: UUID, user: UUID) -> Standing:
        """The streamer of the room, or a viewer."""
        return Standing(role="streamer" if room == user else "viewer")


class PostgresStandings:
    """Reads all of it with one query."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, room: UUID, user: UUID) -> Standing:
        """The standing now; raises RoomsUnavailable when it cannot be read."""
        try:
            row = await QUERIES.find_standing(self._pool, channel_id=room, user_id=user)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            raise RoomsUnavailable("standings cannot be read now") from error
        return Standing(
            role=_role(room, user, row),
            banned_until=None if not row["silenced"] else row["until"] or FOR_GOOD,
            banned=row["silenced"] and row["until"] is None,
            followed_at=row["followed_at"],
            registered_at=row["registered_at"] or _made_at(user),
            known_as=row["username"],
        )


def _role(room: UUID, user: UUID, row: Record) -> Role:
    if room == user:
        return "streamer"
    if row["moderator"]:
        return "moderator"
    return "subscriber" if row["subscriber"] else "viewer"


def _made_at(user: UUID) -> datetime | None:
    """When an account was made that chat was never told of: its id says it."""
    return uuid7_time(user) if user.version == 7 else None
