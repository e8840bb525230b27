"""What accounts does by itself goes on when Postgres breaks a connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from accounts.expiry import Expiry
from accounts.key_ring import KeyRing
from runtime.service import Service


class BrokenPool:
    """A pool whose connections break while they are used; says when one did."""

    def __init__(self) -> None:
        self.used = asyncio.Event()

    def __getattr__(self, _name: str) -> Any:  # noqa: ANN401  whichever way of asking
        return self._ask

    async def _ask(self, *_arguments: object, **_options: object) -> object:
        self.used.set()
        raise asyncpg.InterfaceError("cannot perform operation: connection is closed")


def _key_ring(pool: Any) -> Service:  # noqa: ANN401  a pool as far as these go
    return KeyRing(pool, b"secret", lead_seconds=60, rotation_days=90)


def _expiry(pool: Any) -> Service:  # noqa: ANN401  a pool as far as these go
    return Expiry(pool, session_idle_days=30)


@pytest.mark.parametrize("make", [_key_ring, _expiry])
async def test_a_connection_that_breaks_ends_nothing(make: Callable[[Any], Service]) -> None:
    pool = BrokenPool()
    running = asyncio.create_task(make(pool).run())
    async with asyncio.timeout(5):
        await pool.used.wait()
    done, _ = await asyncio.wait([running], timeout=0.05)
    running.cancel()
    assert not done
    await asyncio.wait([running])
