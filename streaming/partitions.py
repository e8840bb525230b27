"""Makes the months' partitions of `streams` before they are needed."""

import asyncio
from typing import Final

import structlog

from runtime.backoff import Backoff
from runtime.postgres import Pool
from runtime.unavailable import is_unavailable
from streaming import store

log = structlog.get_logger(__name__)

MONTHS_AHEAD: Final = 2
CHECK_SECONDS: Final = 6 * 3_600.0


class Partitions:
    """A Service that keeps partitions ready; streams of a month without one go to the default partition meanwhile."""

    name = "partitions"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Make what is missing, now and every few hours, until cancelled."""
        backoff = Backoff(first_seconds=0.5, ceiling_seconds=30.0)
        while True:
            try:
                for row in await store.queries.make_partitions(self._pool, months_ahead=MONTHS_AHEAD):
                    log.info("partition_made", partition=row["partition"])
            except store.PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("partitions_postponed", reason=str(error) or type(error).__name__)
                await backoff.wait()
            else:
                backoff.reset()
                await asyncio.sleep(CHECK_SECONDS)
