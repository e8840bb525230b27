"""Writing what became of deliveries, in batches, and what it says of their providers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from notify.deliveries import attempts, metrics, store
from notify.deliveries.delivery import Channel, Lane
from notify.deliveries.results import Result, Round, summed_up
from notify.deliveries.store import Pause
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.005
"""How long results wait for others to be settled with; a statement takes about as long."""
AWAY_SECONDS_MAX = 5.0


@dataclass(slots=True)
class _Batch:
    """Results that were told to the channel, and are being written: never told twice, however often that is tried."""

    results: int
    summary: Round


class Settler:
    """The end of a worker's line. What it holds is bounded by what the worker claims."""

    def __init__(self, pool: Pool, channel: Channel, lane: Lane, *, batch_max: int) -> None:
        self._pool = pool
        self._channel = channel
        self._labels = (channel.name.value, lane.value)
        self._batch_max = batch_max
        self._results: list[Result] = []
        self._batch: _Batch | None = None
        self._pauses: list[Pause] = []
        self._resumed: set[str] = set()
        self._due = asyncio.Event()
        self._is_closed = False
        self.settled = 0
        """Results written since the start."""
        self.progress = asyncio.Event()
        """Set with each batch that is written; for whoever waits to clear."""

    def note(self, results: Sequence[Result]) -> None:
        """Results to be written."""
        self._results.extend(results)
        self._due.set()

    def pause(self, pause: Pause) -> None:
        """A provider to be left alone by all workers; written before the results that come with it."""
        self._pauses.append(pause)

    def resume(self, provider: str) -> None:
        """A provider that works again."""
        self._resumed.add(provider)

    async def run(self) -> None:
        """Write until `close`."""
        away = Backoff(ceiling_seconds=AWAY_SECONDS_MAX)
        while not self._is_closed:
            await self._due.wait()
            self._due.clear()
            if len(self._results) < self._batch_max:
                await asyncio.sleep(GATHER_SECONDS)
            try:
                await self.write_all()
                away.reset()
            except PERHAPS_AWAY as error:
                raise_if_cancelled()
                if not is_unavailable(error):
                    raise
                log.warning("deliveries_unsettled", channel=self._labels[0], deliveries=len(self._results))
                self._due.set()
                await away.wait()

    def close(self) -> None:
        """Let `run` end after what it writes at the moment."""
        self._is_closed = True
        self._due.set()

    async def write_all(self) -> None:
        """Write everything there is; raises when Postgres is away, and then keeps it for another try."""
        while self._results:
            if self._batch is None:
                results = self._results[: self._batch_max]
                summary = summed_up(results, self._channel.schedule)
                await attempts.tell(self._channel, summary.heard, summary.gone)
                self._batch = _Batch(len(results), summary)
            settled = await self._write(self._batch.summary)
            self._count(self._batch.summary, lost=self._batch.results - settled)
            del self._results[: self._batch.results]
            self.settled += self._batch.results
            self._batch = None
            self.progress.set()

    async def _write(self, summary: Round) -> int:
        """Pauses are of the same commit: what is given back must not be claimed before its provider is paused."""
        pauses, resumed = list(self._pauses), set(self._resumed)
        if not pauses and not resumed:
            return await store.settle(self._pool, summary.verdicts)
        async with self._pool.acquire() as connection, connection.transaction():
            if resumed:
                await store.resume_providers(connection, self._channel.name, sorted(resumed))
            if pauses:
                await store.pause_providers(connection, self._channel.name, pauses)
            settled = await store.settle(connection, summary.verdicts)
        del self._pauses[: len(pauses)]
        self._resumed -= resumed
        return settled

    def _count(self, summary: Round, *, lost: int) -> None:
        for name, number in summary.counts.items():
            if name == "retried":
                metrics.attempts_failed.labels(*self._labels).inc(number)
            elif name == "released":
                metrics.deliveries_released.labels(*self._labels).inc(number)
            else:
                metrics.deliveries.labels(*self._labels, name).inc(number)
        if lost:
            metrics.deliveries_lost.labels(*self._labels).inc(lost)
            log.warning("delivery_leases_lost", channel=self._labels[0], lane=self._labels[1], deliveries=lost)
