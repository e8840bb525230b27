"""Makes next month's partitions before the month begins."""

from __future__ import annotations

import asyncio

import structlog

from archive.outages import SUSPECTS, is_outage
from archive.store import QUERIES
from runtime.backoff import Backoff
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

MONTHS_AHEAD = 2
INTERVAL_SECONDS = 6 * 3_600.0


class Partitions:
    """Keeps this month's and the coming months' partitions in being. A service."""

    name = "partitions"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Look now and every few hours until cancelled."""
        backoff = Backoff(first_seconds=1.0, ceiling_seconds=60.0)
        while True:
            try:
                made = await QUERIES.make_partitions(self._pool, months_ahead=MONTHS_AHEAD)
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("partitions_wait", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if made:
                log.info("partitions_made", partitions=[row["partition"] for row in made])
            backoff.reset()
            await asyncio.sleep(INTERVAL_SECONDS)
