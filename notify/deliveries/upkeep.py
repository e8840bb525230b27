"""Clears away what deliveries leave behind: empty queues, pauses that are over, and what was given up on long ago."""

from datetime import timedelta

import asyncpg
import structlog

from notify.deliveries import store
from runtime.backoff import pause
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 300.0
ROWS_MAX = 1_000
QUEUE_IDLE = timedelta(hours=1)
"""How long a queue is empty before it goes; a new delivery makes it again."""

# A foreign key: a queue that was empty got a delivery at that moment, and stays.
CANNOT_NOW: tuple[type[Exception], ...] = (*PERHAPS_AWAY, asyncpg.ForeignKeyViolationError)


class DeliveryUpkeep:
    """A service; several may run, and share the work."""

    name = "delivery-upkeep"

    def __init__(self, pool: Pool, *, dead_kept: timedelta) -> None:
        self._pool = pool
        self._dead_kept = dead_kept

    async def run(self) -> None:
        """Clear away every few minutes until cancelled."""
        while True:
            await pause(INTERVAL_SECONDS)
            try:
                while await self.sweep() >= ROWS_MAX:
                    pass
            except CANNOT_NOW as error:
                raise_if_cancelled()
                if not is_unavailable(error) and not isinstance(error, asyncpg.ForeignKeyViolationError):
                    raise
                log.warning("delivery_upkeep_postponed", reason=str(error) or type(error).__name__)

    async def sweep(self) -> int:
        """One round; the most that was removed of one kind, of which it takes no more than `ROWS_MAX`."""
        queues, dead, pauses = await store.sweep(
            self._pool, idle=QUEUE_IDLE, dead_kept=self._dead_kept, rows_max=ROWS_MAX
        )
        if queues or dead or pauses:
            log.info("deliveries_cleared", queues=queues, dead=dead, pauses=pauses)
        return max(queues, dead)
