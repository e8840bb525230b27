"""Moves months of old streams to the cold table, and removes streams that are too old, unless a hold keeps them.

Every step is a small transaction that finds out anew what is to be done: a kill in between costs nothing, and whoever
comes next goes on. A step that would hold up others gives up after `LOCK_TIMEOUT_MS` and is tried again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg
import structlog

from runtime.backoff import pause
from runtime.monthly_partitions import LOCK_TIMEOUT_MS
from runtime.postgres import Connection, Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics
from streaming.retention.settings import StreamRetentionSettings
from streaming.store import queries

log = structlog.get_logger(__name__)

T = TypeVar("T")

EVERY_SECONDS = 6 * 3_600.0
RETRY_SECONDS = 60.0
MONTHS_AT_ONCE_MAX = 120
COUNTED_MAX = 100_000
MOVED_AT_ONCE_MAX = 1_000
PURGED_AT_ONCE_MAX = 200
"""With the statistics of each: about a hundred rows a stream."""
STEPS_PER_ROUND_MAX = 5_000
LOCK_ATTEMPTS_MAX = 10
LOCK_REST_SECONDS = 0.3

LOCKED = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
POSTPONED: tuple[type[Exception], ...] = (*PERHAPS_AWAY, *LOCKED)


@dataclass(frozen=True, slots=True)
class Terms:
    """After how many days streams move, and go; None: never."""

    cold_after_days: int | None
    purge_after_days: int | None

    def cold_before(self, now: datetime) -> datetime | None:
        """What ended before this moment moves. What is to go moves first, since it goes from the cold table alone."""
        days = [days for days in (self.cold_after_days, self.purge_after_days) if days is not None]
        return now - timedelta(days=min(days)) if days else None

    def purge_before(self, now: datetime) -> datetime | None:
        """What ended before this moment goes."""
        return None if self.purge_after_days is None else now - timedelta(days=self.purge_after_days)


@dataclass(frozen=True, slots=True)
class Month:
    """A month of `streams` that is due; its first moment in UTC, without a zone."""

    month: datetime
    streams: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Due:
    """Streams that are too old to be kept, and of which time; up to `COUNTED_MAX` were counted."""

    streams: int = 0
    size_bytes: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. `strays`: streams that no month took. `held`: what a hold keeps from being purged."""

    months: tuple[Month, ...]
    strays: int
    purge: Due
    held: Due
    everything_held: bool


@dataclass(slots=True)
class Done:
    """What a round did."""

    moved: int = 0
    months: int = 0
    purged: int = 0
    dropped: int = 0
    forgotten: int = 0
    """Streams that were prepared and are over."""

    def __bool__(self) -> bool:
        return self != Done()


class StreamRetention:
    """A service; any number of processes may run one at once."""

    name = "stream-retention"

    def __init__(self, pool: Pool, terms: Terms) -> None:
        self._pool = pool
        self._terms = terms

    async def run(self) -> None:
        """Do rounds until cancelled; the first some minutes after the start, so that a restart costs nothing."""
        await pause(RETRY_SECONDS, 1.0, 5.0)
        while True:
            wait_seconds = EVERY_SECONDS
            try:
                await self.round(datetime.now(UTC))
            except POSTPONED as error:
                if not is_unavailable(error) and not isinstance(error, LOCKED):
                    raise
                log.warning("stream_retention_postponed", reason=str(error) or type(error).__name__)
                metrics.retention_postponed.inc()
                wait_seconds = RETRY_SECONDS
            await pause(wait_seconds)

    async def plan(self, now: datetime) -> Plan:
        """What is to be done now; changes nothing."""
        cold_before, purge_before = self._terms.cold_before(now), self._terms.purge_before(now)
        months = () if cold_before is None else await self._months(cold_before)
        strays = 0
        if cold_before is not None:
            row = await queries.count_strays(self._pool, cold_before=cold_before, rows_max=COUNTED_MAX)
            strays = row["streams"]
        due: dict[bool, Due] = {}
        if purge_before is not None:
            rows = await queries.count_due_streams(self._pool, purge_before=purge_before, rows_max=COUNTED_MAX)
            due = {row["held"]: Due(row["streams"], row["size_bytes"], row["first_at"], row["last_at"]) for row in rows}
        held = bool(await queries.is_everything_held(self._pool))
        return Plan(months, strays, due.get(False, Due()), due.get(True, Due()), held)

    async def round(self, now: datetime) -> Done:
        """Do what is due. Raises LockNotAvailableError when somebody reads `streams` for long."""
        done = Done()
        cold_before, purge_before = self._terms.cold_before(now), self._terms.purge_before(now)
        if cold_before is not None and not await queries.is_everything_held(self._pool):
            await self._move(cold_before, done)
        if purge_before is not None:
            await self._purge(purge_before, done)
        done.forgotten = await self._repeated(
            lambda connection: queries.forget_expired_preparations(connection, rows_max=MOVED_AT_ONCE_MAX)
        )
        if done:
            log.info(
                "stream_retention_applied",
                moved=done.moved,
                months=done.months,
                purged=done.purged,
                months_dropped=done.dropped,
                preparations_forgotten=done.forgotten,
            )
        return done

    async def _months(self, cold_before: datetime) -> tuple[Month, ...]:
        rows = await queries.list_months_to_move(self._pool, cold_before=cold_before, months_max=MONTHS_AT_ONCE_MAX)
        months = []
        for row in rows:
            counted = await queries.count_month(self._pool, month=row["month"], cold_before=cold_before)
            if not counted["young"]:
                months.append(Month(row["month"], counted["streams"], row["size_bytes"]))
        return tuple(months)

    async def _move(self, cold_before: datetime, done: Done) -> None:
        for due in await self._months(cold_before):
            moved = await self._move_month(due.month, cold_before)
            if moved is not None:
                done.months += 1
                done.moved += moved
                metrics.streams_moved.inc(moved)

        async def some(connection: Connection) -> int:
            found: int = await queries.move_stray_streams(
                connection, cold_before=cold_before, rows_max=MOVED_AT_ONCE_MAX
            )
            return found

        moved = await self._repeated(some)
        done.moved += moved
        metrics.streams_moved.inc(moved)

    async def _move_month(self, month: datetime, cold_before: datetime) -> int | None:
        await self._step(lambda connection: queries.fence_stream_month(connection, month=month, checked=False))
        await self._step(lambda connection: queries.fence_stream_month(connection, month=month, checked=True))
        moved: int | None = await self._step(
            lambda connection: queries.move_stream_month(connection, month=month, cold_before=cold_before)
        )
        return moved

    async def _purge(self, purge_before: datetime, done: Done) -> None:
        async def some(connection: Connection) -> int:
            found: int = await queries.purge_streams(connection, purge_before=purge_before, rows_max=PURGED_AT_ONCE_MAX)
            return found

        done.purged = await self._repeated(some)
        metrics.streams_purged.inc(done.purged)
        await self._repeated(
            lambda connection: queries.purge_recordings_of_none(
                connection, purge_before=purge_before, rows_max=MOVED_AT_ONCE_MAX
            )
        )
        done.dropped = await self._step(
            lambda connection: queries.drop_empty_stream_months(connection, ended_before=purge_before)
        )

    async def _repeated(self, work: Callable[[Connection], Awaitable[int]]) -> int:
        """Do it until nothing is left, in a transaction each time; how much was done."""
        total = 0
        for _ in range(STEPS_PER_ROUND_MAX):
            some = await self._step(work)
            total += some
            if not some:
                break
        return total

    async def _step(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """One transaction that waits for no lock for long; tried again some times."""
        for _ in range(LOCK_ATTEMPTS_MAX - 1):
            with suppress(*LOCKED):
                return await self._transaction(work)
            await pause(LOCK_REST_SECONDS, 0.5, 1.5)
        return await self._transaction(work)

    async def _transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
            return await work(connection)


def terms_of(settings: StreamRetentionSettings) -> Terms:
    """The terms that the settings give."""
    return Terms(
        settings.streaming_retention_cold_after_days or None, settings.streaming_retention_purge_after_days or None
    )
