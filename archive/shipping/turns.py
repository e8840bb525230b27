"""Lets streams take turns at a bounded number of uploads, so that a backlog waits beside the others, not before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """So many places; a free one goes to whoever has waited longest among those that have had a turn since.

    Each ``who`` has a queue of its own, and the queues take turns.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, who: Hashable) -> AsyncIterator[None]:
        """Hold a place while the block runs."""
        await self._take(who)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, who: Hashable) -> None:
        if self._free > 0:
            self._free -= 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            # The place may have come in the same moment; one that has not is passed over when its turn comes.
            if granted.done() and not granted.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._free += 1
        while self._free > 0 and self._waiting:
            who = next(iter(self._waiting))
            queue = self._waiting.pop(who)
            granted = queue.popleft()
            if queue:
                self._waiting[who] = queue
            if not granted.done():
                self._free -= 1
                granted.set_result(None)
