"""Lets messages go that are older than their room keeps them, unless a hold keeps them.

A room's own `log_days` counts, else the installation's. Months that nobody keeps any more are dropped whole.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from chat.log import metrics
from chat.log.store import FIRST_ID, QUERIES
from runtime.backoff import pause
from runtime.monthly_partitions import LOCK_TIMEOUT_MS
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

EVERY_SECONDS = 6 * 3_600.0
RETRY_SECONDS = 60.0
ROOMS_PER_PAGE_MAX = 500
COUNTED_MAX = 100_000
DELETED_AT_ONCE_MAX = 2_000

POSTPONED: tuple[type[Exception], ...] = (*PERHAPS_AWAY, asyncpg.LockNotAvailableError)


@dataclass(frozen=True, slots=True)
class Aged:
    """A room with messages that may go. ``messages`` and ``size_bytes`` are of the first `COUNTED_MAX`."""

    channel_id: UUID
    due_before: datetime
    held: bool
    messages: int
    size_bytes: int


class LogRetention:
    """A service; any number of processes run one: to delete twice is to delete once."""

    name = "chat-log-retention"

    def __init__(self, pool: Pool, *, log_days: int) -> None:
        self._pool = pool
        self._log_days = log_days

    async def run(self) -> None:
        """Do rounds until cancelled; the first some minutes after the start, so that a restart costs nothing."""
        await pause(RETRY_SECONDS, 1.0, 5.0)
        while True:
            wait_seconds = EVERY_SECONDS
            try:
                await self.round(datetime.now(UTC))
            except POSTPONED as error:
                if not is_unavailable(error) and not isinstance(error, asyncpg.LockNotAvailableError):
                    raise
                log.warning("chat_log_retention_postponed", reason=str(error) or type(error).__name__)
                wait_seconds = RETRY_SECONDS
            await pause(wait_seconds)

    async def due(self, now: datetime) -> AsyncIterator[Aged]:
        """Rooms with messages that are too old, those under a hold too. Changes nothing."""
        after = FIRST_ID
        while True:
            rows = await QUERIES.list_ages(
                self._pool,
                after=after,
                rooms_max=ROOMS_PER_PAGE_MAX,
                now=now,
                log_days=self._log_days,
                messages_max=COUNTED_MAX,
            )
            for row in rows:
                if row["messages"]:
                    yield Aged(**row)
            if len(rows) < ROOMS_PER_PAGE_MAX:
                return
            after = rows[-1]["channel_id"]

    async def round(self, now: datetime) -> list[Aged]:
        """Remove what is due, in bounded steps; what went, by room."""
        done = [room async for room in self.due(now) if not room.held and await self._delete(room)]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
            await QUERIES.keep_log_holds_out(connection)
            dropped = await QUERIES.drop_message_months(connection, now=now, log_days=self._log_days)
        if done or dropped:
            messages = sum(room.messages for room in done)
            log.info("chat_log_aged", rooms=len(done), messages=messages, months=dropped)
        return done

    async def _delete(self, room: Aged) -> bool:
        any_deleted = False
        while True:
            async with self._pool.acquire() as connection, connection.transaction():
                await QUERIES.keep_log_holds_out(connection)
                deleted = await QUERIES.delete_due_messages(
                    connection,
                    channel_id=room.channel_id,
                    due_before=room.due_before,
                    messages_max=DELETED_AT_ONCE_MAX,
                )
            metrics.expired.inc(deleted)
            any_deleted = any_deleted or deleted > 0
            if deleted < DELETED_AT_ONCE_MAX:
                return any_deleted


async def place_hold(pool: Pool, hold_id: UUID, channel_id: UUID | None, *, reason: str, placed_by: str) -> None:
    """Keep everything (no channel) or one channel's messages; the same hold again changes nothing."""
    await QUERIES.place_log_hold(pool, hold_id=hold_id, channel_id=channel_id, reason=reason, placed_by=placed_by)


async def release_hold(pool: Pool, hold_id: UUID, *, released_by: str) -> bool:
    """Let go; whether it was in force."""
    return bool(await QUERIES.release_log_hold(pool, hold_id=hold_id, released_by=released_by))
