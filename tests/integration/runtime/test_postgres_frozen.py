"""A Postgres that does not answer holds up nobody who is asked to end, and takes no cancellation away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from runtime.postgres import CANCELLED_SECONDS_MAX, CLOSE_TIMEOUT_SECONDS, Connection, Pool, connect, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.runtime.freezable import FreezableWay

SPARE_SECONDS = 4.0
"""For a busy machine; what is not bounded takes ten seconds."""
ANSWERED_ATTEMPTS = 10


@pytest.fixture
async def way(database: Database) -> AsyncIterator[FreezableWay]:
    async with FreezableWay(database.url).opened() as way:
        yield way


async def _ends_cancelled(way: FreezableWay, work: Callable[[], Awaitable[None]], *, seconds_max: float) -> None:
    """Have `work` ask the frozen server something, cancel it, and see it end as cancelled in time."""
    task = asyncio.ensure_future(work())
    await asyncio.wait({task, asyncio.ensure_future(way.held_back.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    loop = asyncio.get_running_loop()
    began = loop.time()
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    assert loop.time() - began < seconds_max


async def _transact(connection: Connection, way: FreezableWay) -> None:
    async with connection.transaction():
        await connection.execute("SELECT 1")
        way.freeze()
        await connection.fetchval("SELECT 2")


async def test_a_transaction_of_a_pool_is_given_up(way: FreezableWay) -> None:
    settings = PostgresSettings(postgres_dsn=SecretStr(way.url))
    loop = asyncio.get_running_loop()
    async with open_pool(settings, schema="accounts") as pool:

        async def work() -> None:
            async with pool.acquire() as connection:
                await _transact(connection, way)

        await _ends_cancelled(way, work, seconds_max=CANCELLED_SECONDS_MAX + SPARE_SECONDS)
        began = loop.time()
    assert loop.time() - began < CLOSE_TIMEOUT_SECONDS + SPARE_SECONDS


async def test_a_statement_of_a_pool_is_given_up(way: FreezableWay) -> None:
    settings = PostgresSettings(postgres_dsn=SecretStr(way.url))
    async with open_pool(settings, schema="accounts") as pool:

        async def work() -> None:
            await pool.fetchval("SELECT 1")
            way.freeze()
            await pool.fetchval("SELECT 2")

        await _ends_cancelled(way, work, seconds_max=CANCELLED_SECONDS_MAX + SPARE_SECONDS)


async def test_a_transaction_of_a_connection_is_given_up(way: FreezableWay) -> None:
    connection = await connect(SecretStr(way.url), schema="accounts")

    async def work() -> None:
        await _transact(connection, way)

    await _ends_cancelled(way, work, seconds_max=CANCELLED_SECONDS_MAX + SPARE_SECONDS)
    assert connection.is_closed()


async def test_a_cancelled_transaction_on_a_server_that_answers_rolls_back_and_keeps_its_connection(
    database: Database,
) -> None:
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=1)
    async with open_pool(settings, schema="accounts") as pool:
        # Within the time that is allowed for it; on a machine that is busy with other tests, one of a few is.
        for _ in range(ANSWERED_ATTEMPTS):
            pid, seconds = await _cancelled_transaction(pool)
            if seconds < CANCELLED_SECONDS_MAX / 2:
                assert await pool.fetchval("SELECT pg_backend_pid()") == pid
                return
    pytest.fail(f"no rollback was quick enough to tell, the last one took {seconds:.1f} s")


async def _cancelled_transaction(pool: Pool) -> tuple[int, float]:
    """The server's process whose transaction was cancelled, and how long that took."""
    begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with pool.acquire() as connection, connection.transaction():
            begun.set_result(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute("SELECT pg_sleep(60)")

    task = asyncio.ensure_future(work())
    pid, began = await begun, asyncio.get_running_loop().time()
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    return pid, asyncio.get_running_loop().time() - began
