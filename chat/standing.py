"""What one person may do in one room: looked up when they join, and again when something about it changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chat.entries import Role

STANDING_BELIEVED_SECONDS = 60.0
"""A standing that is older is looked up again before the next message."""


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
