"""Follows and blocks as the objects that the rest of notify speaks of, with what people want of each channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from notify.follow_wants import wants_of
from notify.live_client import Following
from notify.store import END_OF_TIME, LAST_USER_ID
from runtime.postgres import Connection, Pool, load_queries
from runtime.queries import Executor

queries = load_queries("notify")


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's person, how many follow it, and how many of these want notices."""

    username: str
    followers: int
    want_notices: int


@dataclass(frozen=True, slots=True)
class FollowFacts:
    """What decides whether somebody may follow a channel, and how. `follows` is counted up to a limit."""

    followed_at: datetime
    is_blocked: bool
    is_following: bool
    follows: int
    has_muted_everything: bool


@dataclass(frozen=True, slots=True)
class Follower:
    """Somebody who follows a channel, and since when."""

    user_id: UUID
    username: str
    followed_at: datetime


@dataclass(frozen=True, slots=True)
class OwnFollow:
    """A channel that somebody follows, and what they want of it; None: as in their preferences."""

    channel_id: UUID
    username: str
    followed_at: datetime
    muted: bool
    inbox: bool | None
    webpush: bool | None
    email: bool | None
    recordings: bool | None
    categories: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Somebody whom a channel has blocked."""

    user_id: UUID
    username: str
    blocked_at: datetime


async def lock_person(connection: Connection, user_id: UUID) -> bool:
    """Hold a person's row for the rest of the transaction; False: nobody of this id is known."""
    return await queries.lock_person(connection, user_id=user_id) is not None


async def find_follow_facts(
    connection: Connection, *, channel_id: UUID, follower_id: UUID, follows_max: int
) -> FollowFacts | None:
    """What decides whether a person may follow a channel; None: nobody knows the channel."""
    row = await queries.find_follow_facts(
        connection, channel_id=channel_id, follower_id=follower_id, follows_max=follows_max
    )
    return FollowFacts(**row) if row else None


async def insert_follow(
    connection: Connection, *, channel_id: UUID, follower_id: UUID, followed_at: datetime, is_silent: bool
) -> None:
    """Follow a channel that is not followed yet."""
    await queries.insert_follow(
        connection, channel_id=channel_id, follower_id=follower_id, followed_at=followed_at, is_silent=is_silent
    )


async def is_following(connection: Connection, *, channel_id: UUID, follower_id: UUID) -> bool:
    """Whether a person follows a channel."""
    following: bool = await queries.is_following(connection, channel_id=channel_id, follower_id=follower_id)
    return following


async def delete_follow(connection: Connection, *, channel_id: UUID, follower_id: UUID) -> None:
    """Unfollow a channel."""
    await queries.delete_follow(connection, channel_id=channel_id, follower_id=follower_id)


async def find_channel(pool: Executor, channel_id: UUID) -> Channel | None:
    """A channel's person with the exact counts; None: nobody knows the channel."""
    row = await queries.find_channel(pool, channel_id=channel_id)
    return Channel(**row) if row else None


async def list_followers(
    pool: Executor, channel_id: UUID, *, before: tuple[datetime, UUID] = (END_OF_TIME, LAST_USER_ID), items_max: int
) -> Sequence[Follower]:
    """The followers of a channel, the newest first, those who come after (followed_at, user id) in that order."""
    rows = await queries.list_followers(
        pool, channel_id=channel_id, before_followed_at=before[0], before_follower_id=before[1], items_max=items_max
    )
    return [Follower(**row) for row in rows]


async def count_following(pool: Executor, follower_id: UUID) -> int:
    """How many channels a person follows."""
    count: int = await queries.count_following(pool, follower_id=follower_id)
    return count


async def list_following(
    pool: Executor, follower_id: UUID, *, before: tuple[datetime, UUID] = (END_OF_TIME, LAST_USER_ID), items_max: int
) -> Sequence[OwnFollow]:
    """Whom a person follows, the newest first, those that come after (followed_at, channel id) in that order."""
    rows = await queries.list_following(
        pool, follower_id=follower_id, before_followed_at=before[0], before_channel_id=before[1], items_max=items_max
    )
    return [OwnFollow(**row) for row in rows]


async def find_following(connection: Executor, *, channel_id: UUID, follower_id: UUID) -> OwnFollow | None:
    """A person's follow of one channel."""
    row = await queries.find_following(connection, channel_id=channel_id, follower_id=follower_id)
    return OwnFollow(**row) if row else None


async def save_follow_wants(connection: Connection, follower_id: UUID, following: OwnFollow) -> None:
    """Keep what a person wants of one channel."""
    await queries.save_follow_wants(
        connection,
        follower_id=follower_id,
        channel_id=following.channel_id,
        muted=following.muted,
        inbox=following.inbox,
        webpush=following.webpush,
        email=following.email,
        recordings=following.recordings,
        categories=following.categories,
    )


async def find_follow_live(pool: Pool, *, channel_id: UUID, follower_id: UUID) -> Following | None:
    """A follow as the live lane is to know it; None: it is to know of none."""
    row = await queries.find_follow_live(pool, channel_id=channel_id, follower_id=follower_id)
    if row is None:
        return None
    return Following(row["followed_at"], wants_of(recordings=row["recordings"], categories=row["categories"]))


async def insert_block(connection: Connection, *, channel_id: UUID, user_id: UUID) -> bool:
    """Block somebody; False: they were blocked already."""
    return await queries.insert_block(connection, channel_id=channel_id, user_id=user_id) is not None


async def delete_block(pool: Pool, *, channel_id: UUID, user_id: UUID) -> bool:
    """Block somebody no longer; whether they had been blocked."""
    changed: int = await queries.delete_block(pool, channel_id=channel_id, user_id=user_id)
    return changed > 0


async def count_blocks(connection: Connection, channel_id: UUID, *, blocks_max: int) -> int:
    """How many people a channel has blocked, counted up to `blocks_max`."""
    count: int = await queries.count_blocks(connection, channel_id=channel_id, blocks_max=blocks_max)
    return count


async def list_blocks(
    pool: Pool, channel_id: UUID, *, before: tuple[datetime, UUID] = (END_OF_TIME, LAST_USER_ID), items_max: int
) -> Sequence[Blocked]:
    """Whom a channel has blocked, the newest first, those who come after (blocked_at, user id) in that order."""
    rows = await queries.list_blocks(
        pool, channel_id=channel_id, before_blocked_at=before[0], before_user_id=before[1], items_max=items_max
    )
    return [Blocked(**row) for row in rows]
