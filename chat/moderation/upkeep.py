"""Ends what waited too long and forgets what says nothing more: held messages, timeouts, followers, old records."""

from datetime import UTC, datetime, timedelta

import structlog

from chat import metrics
from chat.rooms.signals import HeldTouched, Signals
from runtime.backoff import pause
from runtime.postgres import Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

QUERIES = load_queries("chat")

LOOK_SECONDS = 30.0
ROWS_MAX = 1_000
DECIDED_KEPT = timedelta(days=1)
TIMEOUT_KEPT = timedelta(hours=1)
FORMER_FOLLOWER_KEPT = timedelta(days=8)
"""Longer than follows.v1 keeps its events: none that is older than the leaving can still come."""
MONTH = timedelta(days=31)


class ModerationUpkeep:
    """A service; any number of processes run one."""

    name = "chat-moderation-upkeep"

    def __init__(self, pool: Pool, signals: Signals, *, audit_months: int) -> None:
        self._pool = pool
        self._signals = signals
        self._audit_months = audit_months

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            try:
                await self.look()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("chat_moderation_upkeep_waits", reason=str(error) or type(error).__name__)
            await pause(LOOK_SECONDS, 0.8, 1.2)

    async def look(self) -> None:
        """Do what is due, in bounded steps."""
        now = datetime.now(UTC)
        expired = await QUERIES.expire_held(self._pool, rows_max=ROWS_MAX)
        metrics.held.labels("expired").inc(len(expired))
        for channel_id in {row["channel_id"] for row in expired}:
            self._signals.touch(channel_id, HeldTouched())
        await QUERIES.forget_decided(self._pool, older_than=now - DECIDED_KEPT, rows_max=ROWS_MAX)
        await QUERIES.forget_ended_timeouts(self._pool, older_than=now - TIMEOUT_KEPT, rows_max=ROWS_MAX)
        await QUERIES.forget_former_followers(self._pool, older_than=now - FORMER_FOLLOWER_KEPT, rows_max=ROWS_MAX)
        dropped = await QUERIES.drop_audit_months(self._pool, ended_before=now - self._audit_months * MONTH)
        if dropped:
            log.info("chat_audit_months_dropped", months=dropped)
