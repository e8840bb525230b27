"""Ready profiles in Redis for five minutes, beside the database: a reader who is late keeps nothing that is outdated.

Who finds nothing leaves a mark of its own, reads the database, and replaces the mark by what it read, if the mark is
still there. Who changes a person removes marks and profiles alike, so what was read before the change is never kept
after it. Without Redis everybody reads the database, and removals are repeated until Redis has them.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from accounts import metrics
from runtime.redis_cluster import ClusterRedis

log = structlog.get_logger(__name__)

KEPT_SECONDS = 300
MARK_SECONDS = 10
"""Longer than any statement takes."""
ANSWER_SECONDS_MAX = 0.1
REPEAT_SECONDS = 1.0
OWED_MAX = 10_000
"""Beyond it the oldest are left to run out by themselves, within five minutes."""
MARK = b"?"

# KEYS[1]; ARGV: the mark, the profile, seconds to keep it
_KEEP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""


class ProfileCache:
    """A Service, which repeats removals that Redis did not take."""

    name = "profile-cache"

    def __init__(self, redis: Redis, *, prefix: str, answer_seconds_max: float = ANSWER_SECONDS_MAX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._answer_seconds_max = answer_seconds_max
        self._owed: dict[str, float] = {}

    async def get(self, key: str, load: Callable[[], Awaitable[bytes]]) -> bytes:
        """What is kept under `key`, or what `load` gives; what it raises is kept by nobody."""
        if key in self._owed:
            return await load()
        mark = MARK + secrets.token_bytes(12)
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                found = await self._find_or_mark(key, mark)
        except (RedisError, OSError):
            metrics.profile_reads.labels("no_cache").inc()
            return await load()
        if found is not None and not found.startswith(MARK):
            metrics.profile_reads.labels("cache").inc()
            return found
        metrics.profile_reads.labels("database").inc()
        loaded = await load()
        if found is None:
            await self._keep(key, mark, loaded)
        return loaded

    async def forget(self, keys: Iterable[str]) -> None:
        """Have nobody get what is kept under `keys`; in the background if Redis does not answer."""
        for key in keys:
            if not await self._removed(key):
                self._owed[key] = asyncio.get_running_loop().time() + KEPT_SECONDS
                while len(self._owed) > OWED_MAX:
                    del self._owed[next(iter(self._owed))]

    async def run(self) -> None:
        """Repeat what is owed until cancelled."""
        while True:
            await asyncio.sleep(REPEAT_SECONDS)
            for key, until in list(self._owed.items()):
                if until > asyncio.get_running_loop().time() and not await self._removed(key):
                    break
                self._owed.pop(key, None)

    async def _find_or_mark(self, key: str, mark: bytes) -> bytes | None:
        name = self._name(key)
        async with (await self._owner(name)).pipeline(transaction=False) as pipe:
            pipe.get(name)
            pipe.set(name, mark, nx=True, ex=MARK_SECONDS)
            found, _ = await pipe.execute()
        kept: bytes | None = found
        return kept

    async def _keep(self, key: str, mark: bytes, loaded: bytes) -> None:
        name = self._name(key)
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                redis: Any = await self._owner(name)  # redis-py types eval for both of its clients at once
                await redis.eval(_KEEP, 1, name, mark, loaded, KEPT_SECONDS)
        except (RedisError, OSError) as error:
            log.debug("profile_not_kept", reason=type(error).__name__)

    async def _removed(self, key: str) -> bool:
        name = self._name(key)
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                await (await self._owner(name)).delete(name)
        except (RedisError, OSError) as error:
            log.warning("profile_not_forgotten_yet", reason=str(error) or type(error).__name__)
            return False
        return True

    async def _owner(self, name: str) -> Redis:
        """The client of the server that has a key."""
        if not isinstance(self._redis, ClusterRedis):
            return self._redis
        nodes = self._redis.nodes
        if not nodes.owners():
            await nodes.look()
        return nodes.client(nodes.owner(name))

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"
