"""Hears Redis for this process's live clients, notices when Redis is lost, and catches the clients up afterwards.

One subscription serves all clients. Redis keeps nothing for whoever was away, and a frozen Redis looks like a quiet
one, so silence is broken by our own pings, and each (re)subscription is followed by a look into the stored notices.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from notify import metrics, store
from notify.announcer import FollowChange, PreferencesChange, RedisChannels
from notify.live_client import Following, LiveClient
from notify.live_forms import LiveNotice
from notify.live_registry import LiveRegistry
from notify.notices import Notice, least_notice_id
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

CATCH_UP_USERS_MAX = 50
"""People whose follows and notices are read at once."""
CATCH_UP_MARGIN = timedelta(seconds=60)
"""How far ahead of the loss of Redis the stored notices are looked at; what was told before is not told again."""
HELD_NOTICES_MAX = 1_000
"""Notices that come after Redis was lost wait for what people want by then; beyond these the oldest are looked up."""

RETRY_FIRST_SECONDS = 0.1
RETRY_CEILING_SECONDS = 2.0


class RedisSilent(Exception):
    """Redis has not even answered a ping; `seconds` is for how long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Redis has been silent for {seconds:.1f} s")
        self.seconds = seconds


class LiveGateway:
    """A Service: the process's subscription."""

    name = "live-gateway"

    def __init__(
        self,
        redis: Redis,
        channels: RedisChannels,
        pool: Pool,
        registry: LiveRegistry,
        *,
        silence_seconds_max: float,
        replay_notices_max: int,
        follows_per_user_max: int,
    ) -> None:
        self._redis = redis
        self._channels = channels
        self._pool = pool
        self._registry = registry
        self._silence_seconds_max = silence_seconds_max
        self._replay_notices_max = replay_notices_max
        self._follows_per_user_max = follows_per_user_max
        self._heard_at = datetime.now(UTC)
        self._unconfirmed = set(channels.all())
        self._catch_up_since: datetime | None = None
        self._catch_up_wanted = asyncio.Event()
        self._held: deque[tuple[str, bytes]] | None = deque(maxlen=HELD_NOTICES_MAX)
        self._to_read_again: set[UUID] = set()
        self._reading_wanted = asyncio.Event()
        self.subscribed = asyncio.Event()
        """Set while Redis is heard."""

    async def run(self) -> None:
        """Hear Redis until cancelled; then end the live connections."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear_always(), name="live-hear")
                tasks.create_task(self._catch_up_always(), name="live-catch-up")
                tasks.create_task(self._read_again_always(), name="live-read-again")
        finally:
            self._registry.close("stopping")

    async def _hear_always(self) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._hear(backoff)
            except (RedisError, OSError, RedisSilent) as error:
                raise_if_cancelled()
                log.warning("live_redis_lost", reason=str(error) or type(error).__name__)
            finally:
                self._note_subscribed(False)
            await backoff.wait()

    async def _hear(self, backoff: Backoff) -> None:
        """Subscribe and hear until Redis is lost: raises RedisError, OSError, RedisSilent."""
        loop = asyncio.get_running_loop()
        self._unconfirmed = set(self._channels.all())
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(*self._channels.all())
            heard_at = loop.time()
            while True:
                raise_if_cancelled()
                # a third of the limit, so that a ping is out, and its answer could be in, before the limit is reached
                message = await pubsub.get_message(timeout=self._silence_seconds_max / 3)
                if message is not None:
                    heard_at = loop.time()
                    backoff.reset()
                    await self._take(message)
                elif loop.time() - heard_at > self._silence_seconds_max:
                    raise RedisSilent(loop.time() - heard_at)
                else:
                    await pubsub.ping()

    async def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._confirm(message["channel"].decode())
        elif message["type"] == "message":
            await self._hand_on(message["channel"].decode(), message["data"])
        self._heard_at = datetime.now(UTC)

    def _confirm(self, channel: str) -> None:
        """The client library resubscribes silently after a reconnect: these confirmations are the only sign of it."""
        if not self._unconfirmed:
            self._unconfirmed = set(self._channels.all())
            self._note_subscribed(False)
        if len(self._unconfirmed) == len(self._channels.all()):
            self._want_catch_up(self._heard_at)
            self._held = self._held if self._held is not None else deque(maxlen=HELD_NOTICES_MAX)
        self._unconfirmed.discard(channel)
        if not self._unconfirmed:
            self._note_subscribed(True)
            self._catch_up_wanted.set()

    async def _hand_on(self, channel: str, content: bytes) -> None:
        try:
            if channel in (self._channels.live, self._channels.stored):
                if self._held is None:
                    await self._tell(channel, Notice.model_validate_json(content))
                else:
                    self._held.append((channel, content))
            elif channel == self._channels.preferences:
                self._want_reading(PreferencesChange.model_validate_json(content).user_id)
            else:
                change = FollowChange.model_validate_json(content)
                self._registry.change_follow(change.follower_id, change.channel_id, change.following)
        except ValidationError:
            log.exception("live_message_unreadable", channel=channel)

    async def _tell(self, channel: str, notice: Notice) -> None:
        if channel == self._channels.stored:
            await self._registry.tell_stored(notice)
            return
        with metrics.live_tell_seconds.time():
            told = await self._registry.tell(notice)
        metrics.live_delivered.inc(told)

    def _note_subscribed(self, subscribed: bool) -> None:
        metrics.live_subscribed.set(subscribed)
        if subscribed and not self.subscribed.is_set():
            log.info("live_subscribed")
            self.subscribed.set()
        elif not subscribed:
            self.subscribed.clear()

    async def _catch_up_always(self) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            await self._catch_up_wanted.wait()
            self._catch_up_wanted.clear()
            since, self._catch_up_since = self._catch_up_since, None
            if since is None:
                continue
            try:
                await self._catch_up(since)
                backoff.reset()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("live_catch_up_failed", reason=str(error) or type(error).__name__)
                self._want_catch_up(since)
                self._catch_up_wanted.set()
                await backoff.wait()

    def _want_catch_up(self, since: datetime) -> None:
        self._catch_up_since = min(since, self._catch_up_since or since)

    async def _catch_up(self, since: datetime) -> None:
        """Read again whom the clients follow and what the inboxes got, for all who are connected.

        Notices that have come since are told in between: to those who want them by now.
        """
        people = 0
        for clients in self._registry.clients_by_user(CATCH_UP_USERS_MAX):
            for client in clients:
                await client.ready.wait()
            people += len({client.user_id for client in clients})
            await self._read_follows(clients)
        if self._catch_up_since is None:  # else Redis was lost once more, and these follows may be old already
            held, self._held = self._held or (), None
            for channel, content in held:
                await self._hand_on(channel, content)
        for clients in self._registry.clients_by_user(CATCH_UP_USERS_MAX):
            for client in clients:
                await client.ready.wait()
            await self._tell_missed(clients, since)
        if people:
            metrics.live_catch_ups.inc()
            log.info("live_caught_up", since=since.isoformat(), people=people)

    def _want_reading(self, user_id: UUID) -> None:
        if self._registry.is_connected(user_id):
            self._to_read_again.add(user_id)
            self._reading_wanted.set()

    async def _read_again_always(self) -> None:
        """Read what people want whose preferences have changed; those alone who are connected here."""
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            await self._reading_wanted.wait()
            self._reading_wanted.clear()
            people, self._to_read_again = self._to_read_again, set()
            try:
                for clients in self._registry.clients_of(people, CATCH_UP_USERS_MAX):
                    for client in clients:
                        await client.ready.wait()  # else what it reads on connecting could come in behind
                    await self._read_follows(clients)
                backoff.reset()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("live_reading_failed", reason=str(error) or type(error).__name__)
                self._to_read_again |= people
                self._reading_wanted.set()
                await backoff.wait()

    async def _read_follows(self, clients: Sequence[LiveClient]) -> None:
        self._registry.expect_follows(clients)
        found = await store.find_follows_of(self._pool, _people(clients), follows_max=self._follows_per_user_max)
        follows: defaultdict[UUID, dict[UUID, Following]] = defaultdict(dict)
        for follow in found:
            follows[follow.follower_id][follow.channel_id] = Following(follow.followed_at, follow.wants)
        for client in clients:
            self._registry.listen(client, follows[client.user_id])

    async def _tell_missed(self, clients: Sequence[LiveClient], since: datetime) -> None:
        missed = await store.find_missed_notices(
            self._pool,
            _people(clients),
            after=least_notice_id(since - CATCH_UP_MARGIN),
            items_max=self._replay_notices_max,
        )
        encoded: dict[UUID, LiveNotice] = {}
        for client in clients:
            for notice in missed.get(client.user_id, ()):
                client.offer_stored(encoded.setdefault(notice.notification_id, LiveNotice(notice)))


def _people(clients: Sequence[LiveClient]) -> list[UUID]:
    return list({client.user_id for client in clients})
