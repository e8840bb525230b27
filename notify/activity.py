"""Notes that people are still here, once a day for each: who is away for very long is told nothing any more."""

from collections.abc import Callable
from time import monotonic
from uuid import UUID

from runtime.postgres import load_queries
from runtime.queries import Executor
from runtime.tokens import Caller

queries = load_queries("notify")

NOTED_SECONDS = 3_600.0
"""For so long somebody who was noted is not looked at again."""
NOTED_PEOPLE_MAX = 50_000


class Activity:
    """Hears of everybody who does something here while logged in."""

    def __init__(self, pool: Executor, *, clock: Callable[[], float] = monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._noted: set[UUID] = set()
        self._noted_since = clock()

    async def note(self, caller: Caller) -> None:
        """The caller is doing something. Mostly costs nothing; an index look-up an hour, and a write a day."""
        await self.note_person(caller.user_id)

    async def note_person(self, user_id: UUID) -> None:
        """As `note`, where the token was read before."""
        now = self._clock()
        if now - self._noted_since >= NOTED_SECONDS or len(self._noted) >= NOTED_PEOPLE_MAX:
            self._noted.clear()
            self._noted_since = now
        if user_id in self._noted:
            return
        await queries.note_activity(self._pool, user_id=user_id)
        self._noted.add(user_id)
