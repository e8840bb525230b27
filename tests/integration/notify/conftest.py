"""Notify processes on a database of the test's own, with the bus in memory and Redis shared."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from eventbus.bus_memory import MemoryBus
from events import TOPICS
from notify import store
from notify.__main__ import assemble
from notify.settings import NotifySettings
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from tests.contract.held_client import HeldClient, held_client
from tests.engines import Database
from tests.integration.notify.processes import NamesInTokens, RunningNotify, running_notify

FOLLOWS_MAX, BLOCKS_MAX = 3, 2
"""Of the API under test."""

StartNotify = Callable[..., Awaitable[RunningNotify]]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """A pool on the notify schema, beside those of the processes."""
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as opened:
        await MonthlyPartitions(opened, store.make_partitions).make()
        yield opened


@pytest.fixture
def bus() -> MemoryBus:
    """A bus with every topic of the contract."""
    return MemoryBus({topic.name: topic.partitions for topic in TOPICS})


@pytest.fixture
async def start_notify(
    database: Database, redis_url: str, redis_prefix: str, bus: MemoryBus
) -> AsyncIterator[StartNotify]:
    """Starts any number of notify processes that share everything but their memory; settings by keyword."""
    async with AsyncExitStack() as stack:

        async def start(**overrides: object) -> RunningNotify:
            values: dict[str, object] = {
                "kafka_bootstrap_servers": "unused:1",
                "jwks_url": "http://unused/jwks.json",
                "public_url": "http://edge.test",
                "postgres_dsn": database.dsn,
                "redis_url": redis_url,
                "notify_redis_prefix": redis_prefix,
                "http_port": 0,
                "stop_grace_seconds": 4.0,
                # what Redis is slow to take comes in another order, by way of the stored lane
                "notify_live_publish_seconds_max": 10.0,
                # most tests start stream after stream
                "notify_cool_down_seconds": 0,
                "notify_fanouts_per_day_max": 1_000,
                **overrides,
            }
            settings = NotifySettings.model_validate(values)
            return await stack.enter_async_context(running_notify(settings, bus))

        yield start


@pytest.fixture
async def client(
    database: Database, pool: Pool, redis_url: str, redis_prefix: str, bus: MemoryBus
) -> AsyncIterator[HeldClient]:
    """All of notify's API, each answer held to its declaration; nothing else of the process runs."""
    settings = NotifySettings.model_validate(
        {
            "postgres_dsn": database.dsn,
            "redis_url": redis_url,
            "notify_redis_prefix": redis_prefix,
            "kafka_bootstrap_servers": "unused:1",
            "jwks_url": "http://unused/jwks.json",
            "public_url": "http://edge.test",
            "notify_follows_per_user_max": FOLLOWS_MAX,
            "notify_blocks_per_channel_max": BLOCKS_MAX,
            "notify_page_followers_max": 10,
            "notify_window_pages_max": 4,
        }
    )
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        process = await assemble(stack, settings, bus, redis, NamesInTokens(), Health())
        server = HttpServer(process.apis, settings=HttpSettings(), verifier=NamesInTokens())
        yield await stack.enter_async_context(held_client(server, process.apis))
