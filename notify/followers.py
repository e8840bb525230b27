"""Who follows whom: following, unfollowing, and the names of people."""

from uuid import UUID

import structlog

from eventbus.outbox import Transaction
from events import AccountRegistered, Envelope
from notify import store
from notify.announcer import Announcer, FollowChange
from notify.errors import FollowsThemselves, TooManyFollows, UserNotFound
from notify.live_registry import LiveRegistry
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)


class Followers:
    """Changes follows and tells the live lane of it, here at once and elsewhere over Redis."""

    def __init__(self, pool: Pool, registry: LiveRegistry, announcer: Announcer, *, follows_per_user_max: int) -> None:
        self._pool = pool
        self._registry = registry
        self._announcer = announcer
        self._follows_per_user_max = follows_per_user_max

    async def follow(self, caller: Caller, channel_id: UUID) -> None:
        """Let the caller follow a channel; again changes nothing.

        Raises FollowsThemselves, UserNotFound, TooManyFollows.
        """
        if caller.user_id == channel_id:
            raise FollowsThemselves("a channel's notices go to its followers, not to its streamer")
        async with self._pool.acquire() as connection, connection.transaction():
            if await store.find_username(connection, channel_id) is None:
                raise UserNotFound(f"nobody has the id {channel_id}")
            await store.keep_person(connection, caller.user_id, caller.name)
            limit = self._follows_per_user_max
            followed_at = await store.insert_follow(connection, channel_id=channel_id, follower_id=caller.user_id)
            if followed_at is None:
                return
            # counted behind the insertion, so that following again is no error at the limit
            if await store.count_follows_of(connection, caller.user_id, follows_max=limit + 1) > limit:
                raise TooManyFollows(f"one person follows at most {limit} channels", follows_max=limit)
        log.info("channel_followed", channel_id=str(channel_id), follower_id=str(caller.user_id))
        await self._tell(FollowChange(follower_id=caller.user_id, channel_id=channel_id, followed_at=followed_at))

    async def unfollow(self, caller: Caller, channel_id: UUID) -> None:
        """Let the caller not follow a channel (any longer)."""
        if await store.delete_follow(self._pool, channel_id=channel_id, follower_id=caller.user_id):
            log.info("channel_unfollowed", channel_id=str(channel_id), follower_id=str(caller.user_id))
            await self._tell(FollowChange(follower_id=caller.user_id, channel_id=channel_id, followed_at=None))

    async def on_account_registered(self, transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        """Remember a person's name."""
        await store.keep_person(transaction.connection, envelope.event.user_id, envelope.event.username)

    async def _tell(self, change: FollowChange) -> None:
        self._registry.change_follow(change.follower_id, change.channel_id, change.followed_at)
        await self._announcer.follow_changed(change)
