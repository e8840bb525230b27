"""Notify processes on a database of the test's own, with the bus in memory and Redis shared."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from eventbus.bus_memory import MemoryBus
from events import TOPICS
from notify import store
from notify.settings import NotifySettings
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.notify.processes import RunningNotify, running_notify

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
                **overrides,
            }
            settings = NotifySettings.model_validate(values)
            return await stack.enter_async_context(running_notify(settings, bus))

        yield start
