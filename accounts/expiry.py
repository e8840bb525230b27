"""Clears away login sessions that have ended by themselves, so that their tokens do not pile up."""

import asyncio

import structlog

from accounts import metrics
from runtime.postgres import Pool, load_queries
from runtime.unavailable import UNAVAILABLE

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

INTERVAL_SECONDS = 600.0
SESSIONS_MAX = 500  # per statement, so that none holds locks for long


class SessionExpiry:
    """A Service; any number of processes may run it at once."""

    name = "session-expiry"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Clear every ten minutes until cancelled."""
        while True:
            try:
                await self.clear()
            except UNAVAILABLE as error:
                log.warning("sessions_not_cleared", reason=str(error) or type(error).__name__)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def clear(self) -> int:
        """Delete all sessions that have ended; how many there were."""
        total = 0
        while deleted := await QUERIES.delete_expired_sessions(self._pool, sessions_max=SESSIONS_MAX):
            total += deleted
            metrics.sessions_deleted.inc(deleted)
        if total:
            log.info("sessions_cleared", sessions=total)
        return total
