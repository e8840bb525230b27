"""Ends streams whose publisher did not come back and interrupts those nothing was heard of, by the database's clock.

Any number of processes may reap: a stream that one of them holds, the others pass over.

Silence means something only to who has been listening. A process that has just started, has lost its database for a
while, or was itself stopped would take its own deafness for the publishers'. So it gives them the full time again,
counted from when it began to listen without a gap.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from eventbus.outbox import Outbox
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics, store
from streaming.lifecycle.lifecycle import Status, Step, Tick, step
from streaming.lifecycle.publishing import keep, log_outcome
from streaming.store import ChannelStream

log = structlog.get_logger(__name__)

STREAMS_PER_PASS_MAX: Final = 200
PASS_SECONDS: Final = 1.0
GAP_SECONDS_MAX: Final = 5.0  # between two passes; longer, and hooks may have gone unheard meanwhile
NEVER: Final = timedelta(days=36_500)


class Reaper:
    """A Service that lets time pass for open streams."""

    name = "reaper"

    def __init__(
        self,
        outbox: Outbox,
        pool: Pool,
        *,
        grace_seconds: float,
        silence_seconds: float,
        on_change: Callable[[], None],
        pass_seconds: float = PASS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._pool = pool
        self._grace_seconds = grace_seconds
        self._silence_seconds = silence_seconds
        self._on_change = on_change
        self._pass_seconds = pass_seconds
        self._clock = clock
        self._listening_since: float | None = None
        self._last_pass = 0.0

    async def run(self) -> None:
        """Reap until cancelled; without a database, wait for it."""
        while True:
            try:
                while await self.reap() == STREAMS_PER_PASS_MAX:
                    pass
                await self._count()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("reaping_postponed", reason=str(error) or type(error).__name__)
                self._listening_since = None
            await asyncio.sleep(self._pass_seconds)

    async def reap(self) -> int:
        """One pass over what is due; how many streams it looked at."""
        tick = self._tick()
        done: list[tuple[ChannelStream, Step]] = []
        async with self._outbox.transaction() as transaction:
            overdue = await store.lock_overdue_streams(
                transaction.connection, grace=tick.grace, silence=tick.silence, streams_max=STREAMS_PER_PASS_MAX
            )
            for held in overdue:
                outcome = step(held.stream, tick, held.now)
                await keep(transaction, held, outcome)
                done.append((held, outcome))
        if done:
            self._on_change()
        for held, outcome in done:
            log_outcome(held, outcome)
        return len(overdue)

    def _tick(self) -> Tick:
        now = self._clock()
        gap = now - self._last_pass
        if self._listening_since is None or gap > GAP_SECONDS_MAX:
            self._listening_since = now
        self._last_pass = now
        listened = now - self._listening_since
        return Tick(
            grace=timedelta(seconds=self._grace_seconds) if listened >= self._grace_seconds else NEVER,
            silence=timedelta(seconds=self._silence_seconds) if listened >= self._silence_seconds else NEVER,
        )

    async def _count(self) -> None:
        counted = {row["status"]: row["streams"] for row in await store.queries.count_open_streams(self._pool)}
        for status in (Status.LIVE, Status.INTERRUPTED):
            metrics.streams_open.labels(status.value).set(counted.get(status.value, 0))
