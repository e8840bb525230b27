"""Who moderates a room and who is silenced there, as lists."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from runtime.postgres import Pool, load_queries

QUERIES = load_queries("chat")


@dataclass(frozen=True, slots=True)
class Moderator:
    """Somebody who moderates."""

    user_id: UUID
    username: str | None
    added_at: datetime


@dataclass(frozen=True, slots=True)
class Ban:
    """Somebody who is silenced; without ``until`` for good."""

    user_id: UUID
    username: str | None
    until: datetime | None
    reason: str | None
    banned_by: UUID
    banned_by_name: str | None
    banned_at: datetime


async def list_moderators(pool: Pool, channel_id: UUID, *, after: UUID, items_max: int) -> list[Moderator]:
    """A room's moderators by their ids, those after one."""
    rows = await QUERIES.list_moderators(pool, channel_id=channel_id, after=after, items_max=items_max)
    return [Moderator(**row) for row in rows]


async def list_bans(pool: Pool, channel_id: UUID, *, before: tuple[datetime, UUID], items_max: int) -> list[Ban]:
    """Who is silenced in a room now, the newest first, those before one."""
    rows = await QUERIES.list_bans(
        pool, channel_id=channel_id, before=before[0], before_user=before[1], items_max=items_max
    )
    return [Ban(**row) for row in rows]
