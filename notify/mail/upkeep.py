"""Keeps the tables of mail small, and their destinations at the server that is set."""

import asyncio

import structlog

from notify.mail.store import queries
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 600.0
ROWS_MAX = 1_000
"""In one statement, so that none holds locks for long."""


class MailUpkeep:
    """A Service; any number of processes may run it at once. `provider` is None when no mail is sent."""

    name = "mail-upkeep"

    def __init__(self, pool: Pool, *, provider: str | None) -> None:
        self._pool = pool
        self._provider = provider

    async def run(self) -> None:
        """Clear every ten minutes until cancelled; the providers are corrected once."""
        is_corrected = False
        while True:
            try:
                is_corrected = is_corrected or await self.correct()
                await self.clear()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("mail_upkeep_postponed", reason=str(error) or type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def clear(self) -> None:
        """Forget what has expired."""
        while await queries.delete_expired_verifications(self._pool, rows_max=ROWS_MAX) == ROWS_MAX:
            pass
        while await queries.delete_old_requests(self._pool, rows_max=ROWS_MAX) == ROWS_MAX:
            pass

    async def correct(self) -> bool:
        """Name the server that is set as the provider of all mailboxes, also of those from before; True when done."""
        corrected = ROWS_MAX
        while self._provider is not None and corrected == ROWS_MAX:
            corrected = await queries.correct_mail_providers(
                self._pool, provider=self._provider, destinations_max=ROWS_MAX
            )
        return True
