"""Notify's tables as the objects that the rest of notify speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from notify.follow_wants import FollowWants, wants_of
from notify.notices import Notice
from runtime.postgres import Connection, Pool, load_queries

queries = load_queries("notify")

FIRST_USER_ID = UUID(int=0)
"""Stands before every person's id (RFC 9562, section 5.9: the nil UUID is nobody's)."""
LAST_USER_ID = UUID(int=2**128 - 1)
"""Stands behind every person's id (RFC 9562, section 5.10: the max UUID is nobody's)."""
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody's following of a channel."""

    follower_id: UUID
    channel_id: UUID
    followed_at: datetime
    wants: FollowWants


async def keep_person(connection: Connection | Pool, user_id: UUID, username: str) -> None:
    """Remember a person under a name unless they are known, and hold their row; only a rename corrects a name."""
    await queries.keep_person(connection, user_id=user_id, username=username)


async def keep_channel(connection: Connection, channel_id: UUID, name: str) -> None:
    """Remember a channel's person unless they are known."""
    await queries.keep_channel(connection, user_id=channel_id, username=name)


async def find_username(connection: Connection | Pool, user_id: UUID) -> str | None:
    """A person's name; None: nobody of this id is known."""
    name: str | None = await queries.find_username(connection, user_id=user_id)
    return name


async def find_follows_of(pool: Pool, follower_ids: Sequence[UUID], *, follows_max: int) -> Sequence[Follow]:
    """Of whom people are told live, up to `follows_max` channels each: what they have muted is left out."""
    rows = await queries.find_follows_of(pool, follower_ids=follower_ids, follows_max=follows_max)
    return [
        Follow(
            follower_id=row["follower_id"],
            channel_id=row["channel_id"],
            followed_at=row["followed_at"],
            wants=wants_of(recordings=row["recordings"], categories=row["categories"]),
        )
        for row in rows
    ]


async def find_missed_notices(
    pool: Pool, user_ids: Sequence[UUID], *, after: UUID, items_max: int
) -> Mapping[UUID, Sequence[Notice]]:
    """The newest `items_max` notices above an id, oldest first, by person.

    A notice counts from the commit that began its fan-out on, whether or not its inbox row is written yet.
    """
    rows: Sequence[Mapping[str, Any]] = await queries.find_missed_notices(
        pool, user_ids=user_ids, after_notice_id=after, items_max=items_max
    )
    return {
        user_id: [Notice(**{name: value for name, value in row.items() if name != "user_id"}) for row in found]
        for user_id, found in groupby(rows, key=lambda row: row["user_id"])
    }


async def make_partitions(connection: Connection, months_ahead: int) -> int:
    """Make the inbox partitions of this month and the coming ones; how many were missing."""
    made: int = await queries.make_partitions(connection, months_ahead=months_ahead)
    return made


async def seed_followers(connection: Connection | Pool, channel_id: UUID, *, first: int, last: int) -> int:
    """Make the synthetic followers number `first` to `last` of a channel; how many were missing."""
    made: int = await queries.seed_followers(connection, channel_id=channel_id, first=first, last=last)
    return made
