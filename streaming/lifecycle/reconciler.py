"""Asks media servers who publishes and sets right what hooks that were lost, or never sent, have left wrong.

Any number of processes may do so: each remembers its own answers, and what it finds goes through the same state machine
as hooks, under the stream's lock. A media server that is away, frozen or not understood proves nothing; what to think
of its silence is the reaper's to decide (docs/decisions/0093).
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog

from eventbus.outbox import Outbox
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics, store
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import Absent, Input, Present, Status, Step, step
from streaming.lifecycle.looks import Listened, Looks
from streaming.lifecycle.publishing import keep, log_outcome
from streaming.servers.media_server import MediaServers, Publisher
from streaming.store import ChannelStream

T = TypeVar("T")

log = structlog.get_logger(__name__)

PASS_SECONDS: Final = 2.0
LOOK_SECONDS_MAX: Final = 2.0
TOUCH_SECONDS: Final = 3.0  # those whom no hooks tell of live by this: one answer may be lost and one slow
TOUCHES_PER_STATEMENT_MAX: Final = 500
STREAMS_PER_TRANSACTION_MAX: Final = 50  # each is locked until the last is written, and hooks wait for it
DROPS_PER_PASS_MAX: Final = 20


class Reconciler:
    """A Service that compares open streams with what their media servers say."""

    name = "reconciler"

    def __init__(
        self,
        outbox: Outbox,
        pool: Pool,
        media_servers: MediaServers,
        *,
        absence_seconds: float,
        on_change: Callable[[], None],
        pass_seconds: float = PASS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._pool = pool
        self._media_servers = media_servers
        self._unheard = timedelta(seconds=absence_seconds)
        self._on_change = on_change
        self._pass_seconds = pass_seconds
        self._clock = clock
        self._looks = {name: Looks(absence_seconds) for name, _ in media_servers}

    async def run(self) -> None:
        """Reconcile until cancelled; without a database, wait for it."""
        while True:
            try:
                await asyncio.gather(*(self.reconcile(name) for name in self._looks))
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("reconciling_postponed", reason=str(error) or type(error).__name__)
            await asyncio.sleep(self._pass_seconds)

    async def reconcile(self, name: str) -> None:
        """One look at one media server, and what follows from it."""
        looks = self._looks[name]
        asked_at: datetime = await store.queries.read_clock(self._pool)
        now = self._clock()
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                publishers = await self._media_servers.publishers(name)
        except (MediaServerUnavailable, TimeoutError) as error:
            looks.forget()
            metrics.media_server_answers.labels(name).set(0)
            log.warning("media_server_away", server=name, reason=str(error) or "too slow")
            return
        metrics.media_server_answers.labels(name).set(1)
        metrics.media_server_publishers.labels(name).set(len(publishers))
        # Read after the answer: whoever is in it was accepted, and so written, before.
        sessions = await store.list_sessions(self._pool, name)
        findings = looks.compare(publishers, sessions, asked_at=asked_at, now=now)
        await self._keep_alive(name, asked_at, findings.present)
        await self._apply([(one, Absent(one.session, asked_at, self._unheard)) for one in findings.absent], "gone")
        strangers = findings.strangers[:DROPS_PER_PASS_MAX]
        for stranger in strangers:
            looks.spare(stranger.client)
        # At once: slow ones after another would keep all media servers from being asked, until publishers of whom only
        # the answers tell count as silent.
        await asyncio.gather(*(self._drop(name, stranger) for stranger in strangers))

    async def _keep_alive(self, name: str, asked_at: datetime, present: Sequence[Listened]) -> None:
        """Write down who is there: a live one as the state machine would, in one statement for many."""
        quiet = timedelta(seconds=TOUCH_SECONDS)
        live = [one for one in present if one.status is Status.LIVE and asked_at - one.seen_at >= quiet]
        clients = [(one.stream_id, one.session.client) for one in live]
        for some in _batches(clients, TOUCHES_PER_STATEMENT_MAX):
            await store.touch_sessions(self._pool, name, some, asked_at)
        interrupted = [one for one in present if one.status is Status.INTERRUPTED]
        await self._apply([(one, Present(one.session, asked_at)) for one in interrupted], "resumed")

    async def _apply(self, happened: Sequence[tuple[Listened, Input]], outcome_name: str) -> None:
        for some in _batches(happened, STREAMS_PER_TRANSACTION_MAX):
            said = {listened.stream_id: what for listened, what in some}
            done: list[tuple[ChannelStream, Step]] = []
            async with self._outbox.transaction() as transaction:
                for held in await store.lock_open_streams(transaction.connection, list(said)):
                    outcome = step(held.stream, said[held.stream.stream_id], held.now)
                    await keep(transaction, held, outcome)
                    if outcome.stream is not None and outcome.stream.status is not held.stream.status:
                        done.append((held, outcome))
            if done:
                self._on_change()
            for held, outcome in done:
                metrics.sessions_reconciled.labels(outcome_name).inc()
                log.info("session_reconciled", outcome=outcome_name, stream_id=str(held.stream.stream_id))
                log_outcome(held, outcome)

    async def _drop(self, name: str, stranger: Publisher) -> None:
        session = Session(name, stranger.client)
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                dropped = await self._media_servers.drop(
                    session, accepted_seconds_ago=stranger.publishing_seconds or 0.0
                )
        except (MediaServerUnavailable, TimeoutError) as error:
            log.warning("publisher_not_dropped", server=name, client=stranger.client, reason=str(error) or "too slow")
            return
        if dropped:
            metrics.sessions_reconciled.labels("dropped").inc()
        log.info("stranger_dropped", server=name, client=stranger.client, dropped=dropped)


def _batches(many: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(many), size):
        yield many[begin : begin + size]
