"""A cancellation reaches whoever waits for Postgres, although the client answers it with a timeout."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from pydantic import SecretStr

from eventbus.bus_postgres import PostgresBus
from eventbus.outbox import QUERIES
from runtime.postgres import Pool


class FrozenPool:
    """A pool before a frozen server: what is asked is not answered, and a farewell takes until its timeout."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[None]:  # noqa: ASYNC109  asyncpg's own
        self.asked.set()
        try:
            await asyncio.sleep(timeout * 100)
        except asyncio.CancelledError as cancelled:
            raise TimeoutError from cancelled
        yield


async def test_a_cancellation_that_the_pool_answers_with_a_timeout_is_not_lost() -> None:
    pool = FrozenPool()
    bus = PostgresBus(cast("Pool", pool), SecretStr("postgresql://nowhere"))
    asking = asyncio.create_task(bus.fetch(QUERIES.read_newest_id))
    await pool.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
