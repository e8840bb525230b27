"""Redis: one client per process with bounded connections and every timeout set. Values are bytes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError  # noqa: A004  redis' own, which is no subclass of the built-in one

from runtime.settings import RedisSettings
from runtime.waiting import wait_for

REDIS_CONNECTIONS_MAX = 50
REDIS_ACQUIRE_TIMEOUT_SECONDS = 1.0
REDIS_COMMAND_TIMEOUT_SECONDS = 2.0
REDIS_CONNECT_TIMEOUT_SECONDS = 2.0
REDIS_HEALTH_CHECK_SECONDS = 15
REDIS_RETRIES_MAX = 1


def open_redis(settings: RedisSettings) -> AbstractAsyncContextManager[Redis]:
    """A client; waits for the server, saying so. Closed on leaving."""
    return _open_redis(settings)


@asynccontextmanager
async def _open_redis(settings: RedisSettings) -> AsyncIterator[Redis]:
    client = redis_client(settings)
    try:

        async def ping() -> None:
            await client.ping()

        await wait_for("redis", ping)
        yield client
    finally:
        await client.aclose()


def redis_check(client: Redis) -> Callable[[], Awaitable[None]]:
    """A readiness check: raises unless Redis answers."""

    async def check() -> None:
        await client.ping()

    return check


def redis_client(settings: RedisSettings) -> Redis:
    """A client that has not connected yet; for those who start without Redis and say so."""
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=REDIS_CONNECTIONS_MAX,
        timeout=REDIS_ACQUIRE_TIMEOUT_SECONDS,
        socket_timeout=REDIS_COMMAND_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_CONNECT_TIMEOUT_SECONDS,
        health_check_interval=REDIS_HEALTH_CHECK_SECONDS,
        # One more try covers a connection that died while idle. Not after a timeout: a slow or frozen server has the
        # command already, and would run it twice.
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), REDIS_RETRIES_MAX, supported_errors=(ConnectionError,)),
    )
    return Redis.from_pool(pool)
