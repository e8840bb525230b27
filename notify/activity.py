"""Notes that people are still here, once a day for each: who is away for very long is told nothing any more."""

from time import monotonic
from uuid import UUID

from runtime.postgres import Pool, load_queries
from runtime.tokens import Caller

queries = load_queries("notify")

NOTED_SECONDS = 3_600.0
"""For so long somebody who was noted is not looked at again."""
NOTED_PEOPLE_MAX = 50_000


class Activity:
    """Hears of everybody who does something here while logged in."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._noted: set[UUID] = set()
        self._noted_since = monotonic()

    async def note(self, caller: Caller) -> None:
        """The caller is doing something. Mostly costs nothing; an index look-up an hour, and a write a day."""
        if caller.user_id in self._noted and monotonic() - self._noted_since < NOTED_SECONDS:
            return
        if monotonic() - self._noted_since >= NOTED_SECONDS or len(self._noted) >= NOTED_PEOPLE_MAX:
            self._noted.clear()
            self._noted_since = monotonic()
        await queries.note_activity(self._pool, user_id=caller.user_id)
        self._noted.add(caller.user_id)
