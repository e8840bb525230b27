"""Preferences and absences as the objects that the rest of notify speaks of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from notify.preferences import Preferences
from notify.store import FIRST_USER_ID
from runtime.postgres import Connection, Pool, load_queries

queries = load_queries("notify")

TIME_ZONES_MAX = 5_000
"""Postgres knows about 1,200; bounded like every list."""


@dataclass(frozen=True, slots=True)
class Inactive:
    """Somebody who has done nothing since `active_at`, and how many of their follows are not silent."""

    user_id: UUID
    active_at: datetime
    follows: int


async def find_preferences(connection: Connection | Pool, user_id: UUID) -> Preferences:
    """What a person wants; the defaults if they never said."""
    row = await queries.find_preferences(connection, user_id=user_id)
    return Preferences(**row) if row else Preferences()


async def save_preferences(connection: Connection, user_id: UUID, preferences: Preferences) -> None:
    """Keep what a person wants."""
    await queries.save_preferences(connection, user_id=user_id, **asdict(preferences))


async def list_time_zones(pool: Pool) -> frozenset[str]:
    """The names of the time zones that Postgres knows."""
    rows = await queries.list_time_zones(pool, zones_max=TIME_ZONES_MAX)
    return frozenset(row["name"] for row in rows)


async def silence_follows(connection: Connection, follower_ids: Sequence[UUID], *, is_silent: bool) -> int:
    """Silence all follows of these people, or end that; how many changed."""
    changed: int = await queries.silence_follows(connection, follower_ids=follower_ids, is_silent=is_silent)
    return changed


async def find_away_since(connection: Connection | Pool, user_id: UUID) -> datetime | None:
    """Since when a person is told nothing because they had been away for very long."""
    away_since: datetime | None = await queries.find_away_since(connection, user_id=user_id)
    return away_since


async def come_back(connection: Connection, user_id: UUID) -> None:
    """Note that a person is here again."""
    await queries.come_back(connection, user_id=user_id)


async def list_inactive(
    pool: Pool, *, inactive_since: datetime, after: tuple[datetime, UUID] | None, people_max: int
) -> Sequence[Inactive]:
    """Those who have done nothing since a moment and are not away yet, behind an (active_at, user id)."""
    after_active_at, after_user_id = after or (None, FIRST_USER_ID)
    rows = await queries.list_inactive_people(
        pool,
        inactive_since=inactive_since,
        after_active_at=after_active_at,
        after_user_id=after_user_id,
        people_max=people_max,
    )
    return [Inactive(**row) for row in rows]


async def mark_away(connection: Connection, user_ids: Sequence[UUID], *, inactive_since: datetime) -> Sequence[UUID]:
    """Note that people are away; those of them who still are."""
    rows = await queries.mark_away(
        connection, user_ids=user_ids, inactive_since=inactive_since, people_max=len(user_ids)
    )
    return [row["user_id"] for row in rows]
