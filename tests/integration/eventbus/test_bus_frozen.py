"""The members of a process leave a Postgres that does not answer all together, not one timeout after the other."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr

from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.inbox_memory import MemoryInbox
from eventbus.outbox import Transaction
from eventbus.settings import BusSettings
from eventbus.subscription import Subscription
from events import Envelope, StreamStarted
from tests.engines import Database
from tests.integration.runtime.freezable import FreezableWay
from tests.unit.eventbus.scene import until

MEMBERS = 6
LEAVING_SECONDS_MAX = 10.0
"""Two seconds for the farewell, and what a busy machine takes; one after the other would be eighteen."""

CLOSING_SECONDS_MAX = 8.0


async def _nothing(_transaction: Transaction, _envelope: Envelope[StreamStarted]) -> None:
    """No work."""


@pytest.mark.parametrize("asleep", [False, True], ids=["just frozen", "known to be frozen"])
async def test_members_leave_a_frozen_postgres_together(database: Database, asleep: bool) -> None:
    loop = asyncio.get_running_loop()
    async with FreezableWay(database.url).opened() as way:
        settings = BusSettings(bus_backend="postgres", postgres_dsn=SecretStr(way.url))
        async with AsyncExitStack() as stack:
            bus = await stack.enter_async_context(open_bus(settings))
            loops = [
                ConsumeLoop(bus, MemoryInbox(), Subscription(f"group-{number}", {StreamStarted: _nothing}))
                for number in range(MEMBERS)
            ]
            tasks = [asyncio.create_task(one.run()) for one in loops]
            await until(lambda: all(one.partitions for one in loops))
            way.freeze()
            if asleep:
                await until(lambda: not all(one.partitions for one in loops))
            began = loop.time()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=30)
            assert all(task.cancelled() for task in tasks)
            assert loop.time() - began < LEAVING_SECONDS_MAX
            began = loop.time()
        assert loop.time() - began < CLOSING_SECONDS_MAX
