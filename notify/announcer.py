"""Tells every gateway over Redis: one publish for a notice, however many followers are connected, and wherever.

Redis keeps nothing of it. What it does not take in time is said again when it answers, by a task of its own, so that
neither a fan-out nor a request waits for Redis. Clients know what they have been told, so saying it twice is harmless.
"""

import asyncio
from collections import deque
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from redis.exceptions import RedisError

from notify import metrics
from notify.follow_wants import FollowWants
from notify.live_client import Following
from notify.notices import Notice
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled

log = structlog.get_logger(__name__)

UNSAID_MAX = 1_000
"""How much waits for Redis to come back; beyond it the oldest is left to the inbox and to the gateways' catching up."""
RETRY_FIRST_SECONDS = 0.1
RETRY_CEILING_SECONDS = 2.0


class FollowChange(BaseModel):
    """Somebody now is told of a channel that they follow since a moment, or (None) no longer is."""

    model_config = ConfigDict(frozen=True)

    follower_id: UUID
    channel_id: UUID
    followed_at: datetime | None
    wants: FollowWants = FollowWants()
    """Which of its notices."""

    @property
    def following(self) -> Following | None:
        """The same, as the registry of live clients has it."""
        return None if self.followed_at is None else Following(self.followed_at, self.wants)


class PreferencesChange(BaseModel):
    """What somebody wants of any number of channels has changed: who has them connected reads it again."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID


class RedisChannels:
    """The names of the Redis channels of one installation."""

    def __init__(self, prefix: str) -> None:
        self.live = f"{prefix}:notify:live"
        """A notice, the moment its cause is heard of."""
        self.stored = f"{prefix}:notify:stored"
        """The same notice again, once it is in every inbox: for those who were not reached the first time."""
        self.follows = f"{prefix}:notify:follows"
        """Changes of follows."""
        self.preferences = f"{prefix}:notify:preferences"
        """Whose follows are to be read again."""

    def all(self) -> tuple[str, ...]:
        """What a gateway subscribes to."""
        return (self.live, self.stored, self.follows, self.preferences)


class Announcer:
    """Publishes to the gateways. A Service: it says later what Redis did not take at once."""

    name = "announcer"

    def __init__(self, redis: Redis, channels: RedisChannels, *, publish_seconds_max: float) -> None:
        self._redis = redis
        self._channels = channels
        self._publish_seconds_max = publish_seconds_max
        self._unsaid: deque[tuple[str, bytes]] = deque(maxlen=UNSAID_MAX)
        self._fell_behind = asyncio.Event()

    async def announce(self, notice: Notice) -> None:
        """Tell the connected followers now."""
        # said late, it is one from the stored lane: who has connected meanwhile has read it in the inbox
        await self._say(self._channels.live, notice, later=self._channels.stored)

    async def announce_stored(self, notice: Notice) -> None:
        """Tell those connected followers whom the first telling did not reach."""
        await self._say(self._channels.stored, notice, later=self._channels.stored)

    async def follow_changed(self, change: FollowChange) -> None:
        """Tell the gateways whom a connected person follows now."""
        await self._say(self._channels.follows, change, later=self._channels.follows)

    async def preferences_changed(self, change: PreferencesChange) -> None:
        """Let the gateways read again what a connected person wants of whom."""
        await self._say(self._channels.preferences, change, later=self._channels.preferences)

    async def run(self) -> None:
        """Say what is unsaid, in its order, until cancelled."""
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            raise_if_cancelled()
            await self._fell_behind.wait()
            if not self._unsaid:
                self._fell_behind.clear()
                continue
            channel, content = first = self._unsaid[0]
            if not await self._publish(channel, content):
                await backoff.wait()
                continue
            backoff.reset()
            if self._unsaid and self._unsaid[0] is first:  # else it was the oldest of too many meanwhile
                self._unsaid.popleft()

    async def _say(self, channel: str, said: BaseModel, *, later: str) -> None:
        content = said.model_dump_json().encode()
        if not self._unsaid and await self._publish(channel, content):
            return
        self._unsaid.append((later, content))
        self._fell_behind.set()

    async def _publish(self, channel: str, content: bytes) -> bool:
        try:
            # a limit of our own as well: the client's covers one attempt, and it makes two
            async with asyncio.timeout(self._publish_seconds_max):
                await self._redis.publish(channel, content)
        except (RedisError, OSError) as error:
            raise_if_cancelled()
            metrics.live_publish_failures.inc()
            log.warning("live_publish_failed", channel=channel, reason=str(error) or type(error).__name__)
            return False
        return True
