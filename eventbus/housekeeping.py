"""Makes the partitions of outbox and inbox ahead of time and drops old ones; the leading relay does it."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import structlog

from eventbus.outbox import QUERIES
from events import DEAD_LETTERS, TOPICS
from runtime.backoff import jittered

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 600.0
RETRY_SECONDS = 20.0
LOCK_TIMEOUT_MS = 200
DAYS_AHEAD = 2
WEEKS_AHEAD = 1
CLEARED_EVENTS_MAX = 10_000
OUTBOX_KEEP = timedelta(hours=1)
"""How long after its end a published outbox partition stays: longer than any transaction that began in it can last."""

INBOX_KEEP = (
    max(topic.retention for topic in TOPICS if topic is not DEAD_LETTERS) + DEAD_LETTERS.retention + timedelta(days=7)
)
"""Longer than a message can lie in its topic and then in the dead letters, so that any replay is still recognised."""


class Housekeeping:
    """The round of one schema; remembers when the next is due."""

    def __init__(self, schema: str, *, outbox_keep: timedelta = OUTBOX_KEEP) -> None:
        """``outbox_keep`` is how long an outbox partition stays after its end at least."""
        self._schema = schema
        self._outbox_keep = outbox_keep
        self._due_at = 0.0

    async def when_due(self, connection: "Session") -> None:
        """Do the round if it is time. It waits for locks 200 ms at most; a round that cannot get them comes back."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + jittered(INTERVAL_SECONDS)
        # Asked before anything is dropped; it only ever grows.
        done_id = await self.done_id(connection)
        keep = self._outbox_keep
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
                made = await QUERIES.make_partitions(connection, days_ahead=DAYS_AHEAD, weeks_ahead=WEEKS_AHEAD)
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
                dropped = await QUERIES.drop_done_partitions(connection, keep=keep, done_id=done_id)
                dropped += await QUERIES.drop_old_inbox_partitions(connection, keep=INBOX_KEEP)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            self._due_at = time.monotonic() + RETRY_SECONDS
            log.info("bus_housekeeping_postponed", schema=self._schema)
            return
        cleared = await QUERIES.clear_done_default(
            connection, keep=keep, done_id=done_id, events_max=CLEARED_EVENTS_MAX
        )
        cleared += await QUERIES.clear_old_inbox_default(connection, keep=INBOX_KEEP, events_max=CLEARED_EVENTS_MAX)
        if made or dropped or cleared:
            log.info("bus_partitions_kept", schema=self._schema, made=made, dropped=dropped, cleared=cleared)

    async def done_id(self, connection: "Session") -> int:
        """The id up to which nobody needs the outbox any more."""
        place: int = await QUERIES.read_place(connection)
        return place
