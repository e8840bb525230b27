"""What the count of requests costs each of them: CPU of the process that asks, alone and among others that wait."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from redis.asyncio import Redis

from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from runtime.ids import uuid7
from runtime.limits import Limit
from runtime.limits_redis import RedisLimiter
from runtime.redis_batches import RedisBatches
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings

PORT_BASE: Final = 21_900
REQUESTS: Final = 12_800
AT_ONCE: Final = (1, 8, 64)
AMOUNT: Final = 1_000
COUNTED: Final = Limit("api", AMOUNT, 60, per="user", away="closed")  # patient: every request must be counted here


async def measure(directory: Path, say: Say) -> Outcome:
    """Count requests of as many users as ask at once."""
    figures: dict[str, float] = {}
    cpu_began = time.process_time()
    async with _redis(directory, say) as redis:
        limiter = RedisLimiter(RedisBatches(redis), {COUNTED.name: AMOUNT})
        for at_once in AT_ONCE:
            users = [str(uuid7()) for _ in range(at_once)]
            began = time.process_time()
            await asyncio.gather(*(_ask(limiter, user, REQUESTS // at_once) for user in users))
            figures[f"cpu_{at_once}_at_once_us"] = round((time.process_time() - began) / REQUESTS * 1e6, 1)
        key = f"limit:{COUNTED.name}:{users[0]}"
        times = int(await redis.llen(key))
        figures["redis_bytes_a_request"] = round((await redis.memory_usage(key) or 0) / times, 1)
    return Outcome(figures=figures, processes=1, cpu_seconds=time.process_time() - cpu_began)


async def _ask(limiter: RedisLimiter, user: str, times: int) -> None:
    for _ in range(times):
        await limiter.take(COUNTED, user)


@asynccontextmanager
async def _redis(directory: Path, say: Say) -> AsyncIterator[Redis]:
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ["redis"], say=say)
    try:
        url = SecretStr(stack.environment()["LIVESTREAM_REDIS_URL"])
        async with redis_client(RedisSettings(redis_url=url)) as redis:
            yield redis
    finally:
        await asyncio.to_thread(stack.down)


BENCH = Bench(
    name="limits",
    description="CPU for counting one request in Redis, alone and among others.",
    bars=[
        Bar("cpu_1_at_once_us", "<=", 150),
        Bar("cpu_64_at_once_us", "<=", 60),
        Bar("redis_bytes_a_request", "<=", 16),
    ],
    measure=measure,
)
