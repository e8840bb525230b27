"""Clears away what has ended by itself: sessions, old tokens, attempts, known addresses, names that are free."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from accounts import metrics
from accounts.throttle import KNOWN_ADDRESS_DAYS, WINDOW_SECONDS
from runtime.postgres import Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)
QUERIES = load_queries("accounts")

INTERVAL_SECONDS = 600.0
ROWS_MAX = 500  # per statement, so that none holds locks for long


class Expiry:
    """A Service; any number of processes may run it at once."""

    name = "expiry"

    def __init__(self, pool: Pool, *, session_idle_days: int) -> None:
        self._pool = pool
        self._session_idle_days = session_idle_days

    async def run(self) -> None:
        """Clear every ten minutes until cancelled."""
        while True:
            try:
                await self.clear()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("expired_not_cleared", reason=str(error) or type(error).__name__)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def clear(self) -> dict[str, int]:
        """Delete all that has ended; how many there were of each kind."""
        cleared = {
            "sessions": await _all(lambda: QUERIES.delete_expired_sessions(self._pool, sessions_max=ROWS_MAX)),
            "tokens": await _all(
                lambda: QUERIES.delete_old_tokens(self._pool, idle_days=self._session_idle_days, tokens_max=ROWS_MAX)
            ),
            "attempts": await _all(
                lambda: QUERIES.delete_old_attempts(self._pool, window_seconds=WINDOW_SECONDS, attempts_max=ROWS_MAX)
            ),
            "addresses": await _all(
                lambda: QUERIES.delete_old_addresses(self._pool, days=KNOWN_ADDRESS_DAYS, addresses_max=ROWS_MAX)
            ),
            "names": await _all(lambda: QUERIES.delete_free_names(self._pool, names_max=ROWS_MAX)),
        }
        metrics.sessions_deleted.inc(cleared["sessions"])
        if any(cleared.values()):
            log.info("expired_cleared", **cleared)
        return cleared


async def _all(delete: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while deleted := await delete():
        total += deleted
    return total
