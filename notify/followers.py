"""Who follows whom: following, unfollowing, blocking, what is wanted of one channel, and the names of people.

Concurrency: whatever makes or ends a person's follow holds that person's row first, so that of a follow, an unfollow
and a block at the same time each sees what the other did, and their events are said in that order. The channel's count
is changed last, just ahead of the commit: it is the one row that all its followers share.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from eventbus.outbox import Outbox, Transaction
from events import AccountRegistered, Envelope, FollowCreated, FollowDeleted
from notify import people_store, store
from notify.announcer import Announcer, FollowChange
from notify.errors import (
    BlockedByChannel,
    BlocksThemselves,
    FollowsThemselves,
    NotFollowing,
    TooManyBlocks,
    TooManyFollows,
    UserNotFound,
)
from notify.live_registry import LiveRegistry
from notify.people_store import OwnFollow
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)


class Followers:
    """Changes follows, says so as events, and tells the live lane, here at once and elsewhere over Redis."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        registry: LiveRegistry,
        announcer: Announcer,
        *,
        follows_per_user_max: int,
        blocks_per_channel_max: int,
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._registry = registry
        self._announcer = announcer
        self._follows_per_user_max = follows_per_user_max
        self._blocks_per_channel_max = blocks_per_channel_max

    async def follow(self, caller: Caller, channel_id: UUID) -> None:
        """Let the caller follow a channel; again changes nothing.

        Raises FollowsThemselves, UserNotFound, BlockedByChannel, TooManyFollows.
        """
        if caller.user_id == channel_id:
            raise FollowsThemselves("a channel's notices go to its followers, not to its streamer")
        async with self._outbox.transaction() as transaction:
            if not await self._follow(transaction, caller, channel_id):
                return
        log.info("channel_followed", channel_id=str(channel_id), follower_id=str(caller.user_id))
        await self._tell(caller.user_id, channel_id)

    async def _follow(self, transaction: Transaction, caller: Caller, channel_id: UUID) -> bool:
        """Whether the channel was not followed before."""
        connection, limit = transaction.connection, self._follows_per_user_max
        await store.keep_person(connection, caller.user_id, caller.name)  # holds the row, changed or not
        facts = await people_store.find_follow_facts(
            connection, channel_id=channel_id, follower_id=caller.user_id, follows_max=limit
        )
        if facts is None:
            raise UserNotFound(f"nobody has the id {channel_id}")
        if facts.is_following:
            return False
        if facts.is_blocked:
            raise BlockedByChannel("this channel has blocked you")
        if facts.follows >= limit:
            raise TooManyFollows(f"one person follows at most {limit} channels", follows_max=limit)
        await transaction.say(
            FollowCreated(
                channel_id=channel_id,
                follower_id=caller.user_id,
                follower_name=caller.name,
                followed_at=facts.followed_at,
            )
        )
        await people_store.insert_follow(
            connection,
            channel_id=channel_id,
            follower_id=caller.user_id,
            followed_at=facts.followed_at,
            is_silent=facts.has_muted_everything,
        )
        return True

    async def unfollow(self, caller: Caller, channel_id: UUID) -> None:
        """Let the caller not follow a channel (any longer)."""
        async with self._outbox.transaction() as transaction:
            if not await people_store.lock_person(transaction.connection, caller.user_id):
                return
            if not await _end_follow(transaction, channel_id=channel_id, follower_id=caller.user_id):
                return
        log.info("channel_unfollowed", channel_id=str(channel_id), follower_id=str(caller.user_id))
        await self._tell(caller.user_id, channel_id)

    async def change_wants(self, caller: Caller, channel_id: UUID, changes: Mapping[str, Any]) -> OwnFollow:
        """Change what the caller wants of a channel: fields of `OwnFollow` by name. Raises NotFollowing."""
        async with self._pool.acquire() as connection, connection.transaction():
            await people_store.lock_person(connection, caller.user_id)
            before = await people_store.find_following(connection, channel_id=channel_id, follower_id=caller.user_id)
            if before is None:
                raise NotFollowing("you do not follow this channel")
            after = replace(before, **changes)
            if after == before:
                return before
            await people_store.save_follow_wants(connection, caller.user_id, after)
        log.info("follow_wants_changed", channel_id=str(channel_id), follower_id=str(caller.user_id))
        await self._tell(caller.user_id, channel_id)
        return after

    async def block(self, caller: Caller, user_id: UUID) -> None:
        """Let somebody not follow the caller's channel (any longer); again changes nothing.

        Raises BlocksThemselves, UserNotFound, TooManyBlocks.
        """
        if caller.user_id == user_id:
            raise BlocksThemselves("you do not follow yourself anyway")
        async with self._outbox.transaction() as transaction:
            connection, limit = transaction.connection, self._blocks_per_channel_max
            if not await people_store.lock_person(connection, user_id):
                raise UserNotFound(f"nobody has the id {user_id}")
            if not await people_store.insert_block(connection, channel_id=caller.user_id, user_id=user_id):
                return
            if await people_store.count_blocks(connection, caller.user_id, blocks_max=limit + 1) > limit:
                raise TooManyBlocks(f"one channel blocks at most {limit} people", blocks_max=limit)
            was_following = await _end_follow(transaction, channel_id=caller.user_id, follower_id=user_id)
        log.info("follower_blocked", channel_id=str(caller.user_id), user_id=str(user_id), followed=was_following)
        if was_following:
            await self._tell(user_id, caller.user_id)

    async def unblock(self, caller: Caller, user_id: UUID) -> None:
        """Let somebody follow the caller's channel again; they do not follow it by that."""
        if await people_store.delete_block(self._pool, channel_id=caller.user_id, user_id=user_id):
            log.info("follower_unblocked", channel_id=str(caller.user_id), user_id=str(user_id))

    async def _tell(self, follower_id: UUID, channel_id: UUID) -> None:
        """Tell the live lane how the follow stands now, which is at least as new as what this call changed."""
        live = await people_store.find_follow_live(self._pool, channel_id=channel_id, follower_id=follower_id)
        self._registry.change_follow(follower_id, channel_id, live)
        change = FollowChange(follower_id=follower_id, channel_id=channel_id, followed_at=None)
        if live is not None:
            change = change.model_copy(update={"followed_at": live.since, "wants": live.wants})
        await self._announcer.follow_changed(change)


async def remember_person(transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
    """Remember a person's name when they register."""
    await store.keep_person(transaction.connection, envelope.event.user_id, envelope.event.username)


async def _end_follow(transaction: Transaction, *, channel_id: UUID, follower_id: UUID) -> bool:
    """End a follow and say so; False: there is none. The follower's row is held."""
    connection = transaction.connection
    if not await people_store.is_following(connection, channel_id=channel_id, follower_id=follower_id):
        return False
    await transaction.say(FollowDeleted(channel_id=channel_id, follower_id=follower_id, deleted_at=datetime.now(UTC)))
    await people_store.delete_follow(connection, channel_id=channel_id, follower_id=follower_id)
    return True
