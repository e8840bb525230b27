"""Erases what a service keeps of people whose accounts were deleted: noted with the event, done outside the poll loop.

Pattern: the handler of `account.deleted` writes a row into the service's table `erasures`, in its own transaction. A
worker leases the row and goes through the service's steps, each of which erases in bounded batches. When nothing is
left it goes through them once more after `AGAIN_SECONDS`, for what was being written meanwhile: by requests whose
access token was still good, and by transactions that had begun before.

Invariants: a step may run any number of times, by two workers at once, and end anywhere. Who is killed leaves a lease
that runs out; the next one begins with the first step and finds little to do. The row stays for `KEPT_SECONDS` as the
person's tombstone: triggers of the schema ask it, so that an event that comes late brings nobody back.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import structlog

from runtime import metrics
from runtime.backoff import Backoff, pause
from runtime.postgres import Connection, Pool, load_queries
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

QUERIES = load_queries("runtime")

LEASE_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 900.0
"""Longer than an access token lives (ten minutes), and than any transaction."""
KEPT_SECONDS: Final = 90 * 86_400.0
"""Longer than any topic keeps what could come late: dead letters are kept for 30 days, and may be replayed then."""
FORGOTTEN_AT_ONCE_MAX: Final = 1_000
POLL_SECONDS: Final = 2.0
COLLISION_WAIT_SECONDS: Final = 1.0


class NotYet(Exception):
    """What is left has to wait for something else; `reason` goes to the log."""

    def __init__(self, reason: str, *, wait_seconds: float = 2.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds


EraseStep = Callable[[UUID], AsyncGenerator[None, None]]
"""Erases one kind of what is kept of a person; yields after every batch, so that the lease is kept. Raises NotYet."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's hold on one person's erasure."""

    user_id: UUID
    token: UUID


async def note_erasure(connection: Connection, user_id: UUID, deleted_at: datetime) -> None:
    """Have everything of a person erased, if the transaction commits."""
    await QUERIES.note_erasure(connection, user_id=user_id, deleted_at=deleted_at)


class Erasures:
    """The worker. A service; any number of processes run one, and share the people."""

    name = "erasures"

    def __init__(
        self,
        pool: Pool,
        steps: Sequence[EraseStep],
        *,
        service: str,
        again_seconds: float = AGAIN_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._pool = pool
        self._steps = steps
        self._service = service
        self._again_seconds = again_seconds
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Erase until cancelled; while a dependency is away, wait for it."""
        backoff = Backoff(0.5, 15.0)
        while True:
            try:
                worked = await self.round()
                if not worked:
                    await self._look_around()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("erasures_wait", service=self._service, reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            backoff.reset()
            if not worked:
                await pause(self._poll_seconds, 0.8, 1.2)

    async def round(self) -> bool:
        """Erase what is due of one person; False when nothing is."""
        token = uuid4()
        row = await QUERIES.claim_erasure(self._pool, lease=token, lease_seconds=self._lease_seconds)
        if row is None:
            return False
        lease = Lease(row["user_id"], token)
        try:
            done = await self._erase(lease)
        except NotYet as waits:
            log.info("erasure_waits", service=self._service, user_id=str(lease.user_id), reason=waits.reason)
            await self._postpone(lease, waits.wait_seconds)
            return True
        except (asyncpg.DeadlockDetectedError, asyncpg.ForeignKeyViolationError) as collision:
            # Somebody wrote at the same time what was just being erased: it is there at the next attempt.
            log.info("erasure_collided", service=self._service, user_id=str(lease.user_id), reason=str(collision))
            await self._postpone(lease, COLLISION_WAIT_SECONDS)
            return True
        if done:
            await self._end(lease)
        return True

    async def _erase(self, lease: Lease) -> bool:
        """All steps, one after the other; False: another worker has taken the person over."""
        for step in self._steps:
            async with aclosing(step(lease.user_id)) as batches:
                async for _ in batches:
                    if not await self._extend(lease):
                        log.warning("erasure_taken_over", service=self._service, user_id=str(lease.user_id))
                        return False
        return True

    async def _extend(self, lease: Lease) -> bool:
        extended: int = await QUERIES.extend_erasure(
            self._pool, user_id=lease.user_id, lease=lease.token, lease_seconds=self._lease_seconds
        )
        return extended > 0

    async def _postpone(self, lease: Lease, wait_seconds: float) -> None:
        await QUERIES.postpone_erasure(self._pool, user_id=lease.user_id, lease=lease.token, wait_seconds=wait_seconds)

    async def _end(self, lease: Lease) -> None:
        settled: bool | None = await QUERIES.note_erased(
            self._pool, user_id=lease.user_id, lease=lease.token, again_seconds=self._again_seconds
        )
        if settled is None:
            return
        metrics.erasures_done.labels(self._service).inc(0 if settled else 1)
        event = "erasure_settled" if settled else "person_erased"
        log.info(event, service=self._service, user_id=str(lease.user_id))

    async def _look_around(self) -> None:
        """Say what is pending, and forget old tombstones."""
        row = await QUERIES.measure_erasures(self._pool)
        metrics.erasures_pending.labels(self._service).set(row["pending"])
        metrics.erasures_oldest_seconds.labels(self._service).set(row["oldest_seconds"])
        await QUERIES.forget_erasures(self._pool, kept_seconds=KEPT_SECONDS, rows_max=FORGOTTEN_AT_ONCE_MAX)
