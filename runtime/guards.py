"""What stands before the endpoints of every process: the count of requests, and the answers to repeated ones."""

from dataclasses import dataclass

from redis.asyncio import Redis

from runtime.client_address import ClientAddresses
from runtime.idempotency import Repeats
from runtime.idempotency_redis import RedisRepeats
from runtime.limits import Limiter
from runtime.limits_http import LimitKeeper
from runtime.limits_redis import RedisLimiter
from runtime.redis_batches import RedisBatches
from runtime.settings import HttpSettings


@dataclass(frozen=True)
class Guards:
    """For the HTTP server."""

    limits: LimitKeeper
    repeats: Repeats


def redis_guards(redis: Redis, settings: HttpSettings) -> Guards:
    """Guards that share their state in Redis with those of all processes."""
    batches = RedisBatches(redis)
    limiter: Limiter = RedisLimiter(batches, settings.limit_amounts())
    addresses = ClientAddresses(settings.http_trusted_proxies)
    return Guards(LimitKeeper(limiter, addresses), RedisRepeats(batches))
