"""Finding spools that the index has lost: a failover may cost its newest notes, and a quiet room sends no new ones.

Every key of every server is looked at within some minutes, a step with each call, and what is found is noted.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from chat.brokers.redis_calls import RedisCalls
from chat.errors import BrokerUnavailable

ROUND_SECONDS_MIN = 300.0
KEYS_PER_STEP = 1_000

_BEGIN, _END = "chat:{", "}:spool"


class SpoolSweep:
    """Goes through the keys of all servers, again and again; a round takes `ROUND_SECONDS_MIN` at least."""

    def __init__(self, calls: RedisCalls, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._clock = clock
        self._places: dict[str, tuple[int, float]] = {}  # by server: the cursor, and when the round began

    async def step(self) -> set[UUID]:
        """Look at some keys of each server; the answer is rooms with a spool. A server that is away waits its turn."""
        rooms: set[UUID] = set()
        for name, server in (await self._calls.servers()).items():
            now = self._clock()
            cursor, began = self._places.get(name, (0, -ROUND_SECONDS_MIN))
            if cursor == 0:
                if now - began < ROUND_SECONDS_MIN:
                    continue
                began = now
            try:
                cursor, keys = await self._calls.bounded(_scan(server, cursor))
            except BrokerUnavailable:
                continue
            self._places[name] = cursor, began
            rooms.update(UUID(key.decode()[len(_BEGIN) : -len(_END)]) for key in keys)
        return rooms


def _scan(server: Redis, cursor: int) -> Awaitable[tuple[int, list[Any]]]:
    return server.scan(cursor, match=f"{_BEGIN}*{_END}", count=KEYS_PER_STEP, _type="stream")
