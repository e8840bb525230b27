"""Makes the inbox's monthly partitions ahead of time."""

import asyncio

import asyncpg
import structlog

from notify import store
from runtime.postgres import Pool
from runtime.unavailable import UNAVAILABLE, is_unavailable

log = structlog.get_logger(__name__)

MONTHS_AHEAD = 2
LOOK_SECONDS = 6 * 3_600.0
RETRY_SECONDS = 30.0
LOCK_TIMEOUT_MS = 200
"""A new partition locks the inbox for a moment; waiting longer for the lock would hold up every page behind it."""


POSTPONED: tuple[type[Exception], ...] = (*UNAVAILABLE, asyncpg.InterfaceError, asyncpg.LockNotAvailableError)


class NoticeMonths:
    """A Service: looks four times a day whether a month is missing."""

    name = "notice-months"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Make partitions until cancelled."""
        while True:
            made = await self.make()
            await asyncio.sleep(LOOK_SECONDS if made else RETRY_SECONDS)

    async def make(self) -> bool:
        """Make what is missing; False: it has to be tried again soon."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
                made = await store.make_notice_months(connection, months_ahead=MONTHS_AHEAD)
        except POSTPONED as error:
            if not is_unavailable(error) and not isinstance(error, asyncpg.LockNotAvailableError):
                raise
            log.info("notice_months_postponed", reason=str(error) or type(error).__name__)
            return False
        if made:
            log.info("notice_months_made", months=made)
        return True
