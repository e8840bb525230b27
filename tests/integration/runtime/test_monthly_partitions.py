"""Months are made ahead of time; a busy or absent database only postpones that."""

import asyncio

import asyncpg
import pytest

from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import Connection, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database


class Maker:
    """A service's SQL function, as far as the schedule sees it."""

    def __init__(self, *outcomes: Exception | int) -> None:
        self._outcomes = list(outcomes)
        self.months_ahead: list[int] = []

    async def __call__(self, connection: Connection, months_ahead: int) -> int:
        self.months_ahead.append(months_ahead)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_an_outage_or_a_lock_postpones_and_a_mistake_does_not(database: Database) -> None:
    full_default = asyncpg.CheckViolationError("the default partition has rows of the month")
    postponing = (asyncpg.LockNotAvailableError("busy"), ConnectionResetError(), full_default)
    maker = Maker(*postponing, 3, 0, asyncpg.UndefinedFunctionError())
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as pool:
        partitions = MonthlyPartitions(pool, maker)
        assert [await partitions.make() for _ in range(5)] == [False, False, False, True, True]
        assert maker.months_ahead == [2, 2, 2, 2, 2]
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await partitions.make()


async def test_a_table_that_is_held_is_not_waited_for(database: Database) -> None:
    async def lock(connection: Connection, months_ahead: int) -> int:
        await connection.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        return 1

    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as pool:
        partitions = MonthlyPartitions(pool, lock)
        async with pool.acquire() as holder, holder.transaction(), asyncio.timeout(5):
            await holder.execute("LOCK TABLE outbox IN ACCESS SHARE MODE")
            assert not await partitions.make()
        assert await partitions.make()
