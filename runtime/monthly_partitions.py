"""Makes a schema's monthly partitions before their month begins, by the SQL function that its service declares."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from runtime import metrics
from runtime.postgres import Connection, Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

MONTHS_AHEAD = 2
LOOK_SECONDS = 6 * 3_600.0
RETRY_SECONDS = 30.0
LOCK_TIMEOUT_MS = 200
"""A new partition locks its table for a moment; waiting longer for the lock would hold up everybody behind it."""

MakePartitions = Callable[[Connection, int], Awaitable[int]]
"""Makes what is missing of this month and the months ahead, and answers how many were."""

# By the last one Postgres says that the default partition has rows of that month already: an operator moves them, and
# until then more go there, which is no reason to stop serving.
UNMAKEABLE: tuple[type[Exception], ...] = (asyncpg.LockNotAvailableError, asyncpg.CheckViolationError)
POSTPONED: tuple[type[Exception], ...] = (*PERHAPS_AWAY, *UNMAKEABLE)


class MonthlyPartitions:
    """A service that looks four times a day; until then rows of a missing month go to the default partition."""

    name = "partitions"

    def __init__(self, pool: Pool, make_partitions: MakePartitions) -> None:
        self._pool = pool
        self._make_partitions = make_partitions

    async def run(self) -> None:
        """Make partitions until cancelled."""
        while True:
            made = await self.make()
            await asyncio.sleep(LOOK_SECONDS if made else RETRY_SECONDS)

    async def make(self) -> bool:
        """Make what is missing now; False: it has to be tried again soon."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
                made = await self._make_partitions(connection, MONTHS_AHEAD)
        except POSTPONED as error:
            if not is_unavailable(error) and not isinstance(error, UNMAKEABLE):
                raise
            metrics.partitions_postponed.inc()
            log.warning("partitions_postponed", reason=str(error) or type(error).__name__)
            return False
        if made:
            log.info("partitions_made", partitions=made)
        return True
