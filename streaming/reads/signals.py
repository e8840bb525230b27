"""Tells the other processes of streaming that the live list has changed, and hears it from them, over Redis.

A signal says only *that*; the table says what. Signals that fall together are one. Redis keeps nothing for whoever was
away and a frozen one looks like a quiet one: so silence is broken by pings of our own, and each (re)subscription, which
may follow lost signals, counts as a change. While Redis is away pages are forgotten by age alone.
"""

import asyncio
import secrets
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from streaming import metrics
from streaming.reads.livelist import LiveList

log = structlog.get_logger(__name__)

CHANNEL: Final = "streaming:live-list"
SILENCE_SECONDS_MAX: Final = 5.0
RETRY_FIRST_SECONDS: Final = 0.05
RETRY_CEILING_SECONDS: Final = 2.0


class RedisSilent(Exception):
    """Redis has not even answered a ping for too long."""


class LiveListSignals:
    """A Service: one subscription, and one publisher."""

    name = "live-list-signals"

    def __init__(
        self,
        redis: Redis,
        live_list: LiveList[Any, Any],
        *,
        channel: str = CHANNEL,
        silence_seconds_max: float = SILENCE_SECONDS_MAX,
    ) -> None:
        self._redis = redis
        self._live_list = live_list
        self._channel = channel
        self._silence_seconds_max = silence_seconds_max
        self._own = secrets.token_bytes(8)
        self.heard: asyncio.Event = asyncio.Event()
        """Set while the other processes are heard."""

    async def run(self) -> None:
        """Tell and hear until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_always(), name="live-list-tell")
            tasks.create_task(self._hear_always(), name="live-list-hear")

    async def _tell_always(self) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            await self._live_list.changed.wait()
            self._live_list.changed.clear()
            try:
                await self._redis.publish(self._channel, self._own)
                backoff.reset()
            except (RedisError, OSError):
                # Who subscribes again forgets anyway; this is for the case that only we have lost Redis.
                raise_if_cancelled()
                self._live_list.changed.set()
                await backoff.wait()

    async def _hear_always(self) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._hear(backoff)
            except (RedisError, OSError, RedisSilent) as error:
                raise_if_cancelled()
                log.warning("live_list_redis_lost", reason=str(error) or type(error).__name__)
            finally:
                self._note_heard(False)
            await backoff.wait()

    async def _hear(self, backoff: Backoff) -> None:
        """Subscribe and hear until Redis is lost: raises RedisError, OSError, RedisSilent."""
        loop = asyncio.get_running_loop()
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            heard_at = loop.time()
            while True:
                raise_if_cancelled()
                message = await pubsub.get_message(timeout=self._silence_seconds_max / 3)
                if message is not None:
                    heard_at = loop.time()
                    backoff.reset()
                    self._take(message["type"], message["data"])
                elif loop.time() - heard_at > self._silence_seconds_max:
                    raise RedisSilent(f"silent for {loop.time() - heard_at:.1f} s")
                else:
                    await pubsub.ping()

    def _take(self, kind: str, content: object) -> None:
        if kind == "subscribe":
            # Also the only sign of a reconnection that the client library made by itself.
            self._live_list.drop()
            self._note_heard(True)
        elif kind == "message" and content != self._own:
            self._live_list.drop()
            metrics.live_list_signals.inc()

    def _note_heard(self, heard: bool) -> None:
        metrics.live_list_subscribed.set(heard)
        if heard:
            self.heard.set()
        else:
            self.heard.clear()
