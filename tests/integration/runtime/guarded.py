"""Servers with limits and kept answers in a real Redis, in this process and as one of its own that can be killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, SecretStr
from redis.asyncio import Redis

from runtime.client_address import ClientAddresses
from runtime.endpoints import endpoint
from runtime.guards import Guards
from runtime.http_server import HttpServer
from runtime.idempotency_redis import RedisRepeats
from runtime.limits import LOGINS
from runtime.limits_http import LimitKeeper
from runtime.limits_redis import RedisLimiter
from runtime.redis_batches import RedisBatches
from runtime.redis_client import redis_client
from runtime.settings import HttpSettings, RedisSettings
from runtime.tokens import Caller

AMOUNTS = {"api": 50, "logins": 20, "stream-creations": 1}
RUNNING_SECONDS = 60.0
RUNNING_SECONDS_OF_A_DOOMED = 1.5


class Deed(BaseModel):
    """Whose counter, and whether to die after it was raised."""

    counter: str
    die: bool = False


class Done(BaseModel):
    """What the counter says."""

    times: int


class Doors:
    """One of each kind; what is done is a counter in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @endpoint("GET", "/mine")
    async def mine(self, caller: Caller) -> None:
        """Read."""

    @endpoint("POST", "/login", limit=LOGINS)
    async def login(self) -> None:
        """Come in."""

    @endpoint("POST", "/deeds", limit=None, idempotent=True)
    async def do(self, caller: Caller, body: Deed) -> Done:
        """Raise the counter."""
        times = await self._redis.incr(body.counter)
        if body.die:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.05)
        return Done(times=times)


class Names:
    """A token is a user's id."""

    async def verify(self, token: str) -> Caller:
        """Who it is."""
        return Caller(UUID(token), "somebody")


@asynccontextmanager
async def guarded_server(redis_url: str, *, running_seconds_max: float = RUNNING_SECONDS) -> AsyncIterator[str]:
    """Its URL; what runs for longer than that is given up."""
    async with redis_client(RedisSettings(redis_url=SecretStr(redis_url))) as redis:
        batches = RedisBatches(redis)
        guards = Guards(
            LimitKeeper(RedisLimiter(batches, AMOUNTS), ClientAddresses("127.0.0.1")),
            RedisRepeats(batches, running_seconds_max=running_seconds_max),
        )
        server = HttpServer([Doors(redis)], settings=HttpSettings(), verifier=Names(), guards=guards)
        async with TestServer(await server.application()) as served:
            yield str(served.make_url("/")).rstrip("/")


@asynccontextmanager
async def new_session() -> AsyncIterator[ClientSession]:
    """A client with as many connections as it likes."""
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        yield session


async def _serve(redis_url: str) -> None:
    async with guarded_server(redis_url, running_seconds_max=RUNNING_SECONDS_OF_A_DOOMED) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
