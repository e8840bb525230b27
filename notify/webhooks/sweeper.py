"""Forgets what has been in the log of webhooks for long enough, some at a time."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from notify.webhooks import metrics
from runtime.postgres import Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)
QUERIES = load_queries("notify")

SWEEP_SECONDS = 3_600.0
BATCH_MESSAGES_MAX = 1_000
BETWEEN_BATCHES_SECONDS = 0.2
"""Room for everybody else: a backlog is worked off at 5,000 messages a second at the most."""


class WebhookLogSweeper:
    """A service that looks once an hour; several at once do no harm."""

    name = "webhook-log-sweeper"

    def __init__(self, pool: Pool, *, keep: timedelta, batch_messages_max: int = BATCH_MESSAGES_MAX) -> None:
        self._pool = pool
        self._keep = keep
        self._batch_messages_max = batch_messages_max

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("webhook_sweep_postponed", reason=str(error) or type(error).__name__)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Forget everything that is older than it may be; how many messages that were."""
        before, swept = datetime.now(UTC) - self._keep, 0
        while True:
            batch: int = await QUERIES.sweep_webhook_messages(
                self._pool, before=before, messages_max=self._batch_messages_max
            )
            swept += batch
            if batch < self._batch_messages_max:
                break
            await asyncio.sleep(BETWEEN_BATCHES_SECONDS)
        if swept:
            metrics.messages_swept.inc(swept)
            log.info("webhook_log_swept", messages=swept)
        return swept
