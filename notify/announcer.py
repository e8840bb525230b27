"""Tells every gateway over Redis: one publish for a notice, however many followers are connected, and wherever.

Redis keeps nothing of it. A publish that fails is counted and left: whoever missed it is told from the stored notices,
when the fan-out is done or when the gateway hears Redis again.
"""

import asyncio
from datetime import datetime
from time import monotonic
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from redis.exceptions import RedisError

from notify import metrics
from notify.notices import Notice

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 2.0
"""After a failure nothing is tried for so long, so that a frozen Redis does not hold up whoever says something."""


class FollowChange(BaseModel):
    """Somebody now follows a channel since a moment, or (None) no longer does."""

    model_config = ConfigDict(frozen=True)

    follower_id: UUID
    channel_id: UUID
    followed_at: datetime | None


class RedisChannels:
    """The names of the Redis channels of one installation."""

    def __init__(self, prefix: str) -> None:
        self.live = f"{prefix}:notify:live"
        """A notice, the moment its cause is heard of."""
        self.stored = f"{prefix}:notify:stored"
        """The same notice again, once it is in every inbox: for those who were not reached the first time."""
        self.follows = f"{prefix}:notify:follows"
        """Changes of follows."""

    def all(self) -> tuple[str, ...]:
        """What a gateway subscribes to."""
        return (self.live, self.stored, self.follows)


class Announcer:
    """Publishes to the gateways, each publish bounded in time; a lost one is never an error of the caller's."""

    def __init__(self, redis: Redis, channels: RedisChannels, *, publish_seconds_max: float) -> None:
        self._redis = redis
        self._channels = channels
        self._publish_seconds_max = publish_seconds_max
        self._paused_until = 0.0

    async def announce(self, notice: Notice) -> None:
        """Tell the connected followers now."""
        await self._publish(self._channels.live, notice)

    async def announce_stored(self, notice: Notice) -> None:
        """Tell those connected followers whom the first telling did not reach."""
        await self._publish(self._channels.stored, notice)

    async def follow_changed(self, change: FollowChange) -> None:
        """Tell the gateways whom a connected person follows now."""
        await self._publish(self._channels.follows, change)

    async def _publish(self, channel: str, said: BaseModel) -> None:
        if monotonic() < self._paused_until:
            metrics.live_publish_failures.inc()
            return
        try:
            # asyncio's own limit as well: the client's covers one attempt, and it makes two
            async with asyncio.timeout(self._publish_seconds_max):
                await self._redis.publish(channel, said.model_dump_json())
        except (RedisError, OSError) as error:
            metrics.live_publish_failures.inc()
            self._paused_until = monotonic() + PAUSE_SECONDS
            log.warning("live_publish_failed", channel=channel, reason=str(error) or type(error).__name__)
