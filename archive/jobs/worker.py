"""Works through the jobs: leases one, keeps the lease alive, does it, says so; any number of workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from archive import metrics
from archive.errors import LeaseLost, MediaRefused, ProcessError
from archive.jobs.jobs import JobKind, Jobs, LeasedJob
from archive.outages import SUSPECTS, is_outage
from eventbus.outbox import Outbox
from runtime.backoff import Backoff
from runtime.objects import ObjectMissing
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 0.1
# Counting reads an index entry for each job that waits.
COUNT_SECONDS = 15.0
RETRY_FIRST_SECONDS = 1.0
RETRY_CEILING_SECONDS = 60.0
OUTAGE_WAIT_SECONDS = 2.0
# A worker that is asked to stop gives its jobs back, so that nobody has to wait for the lease. Within the grace of its
# process, of which the end of an encoder may take a part.
GIVE_BACK_SECONDS = 4.0


class Progress:
    """How much of a job is done (0..1); its kind reports, the heartbeat writes it down."""

    def __init__(self) -> None:
        self.done = 0.0

    def report(self, done: float) -> None:
        """So much is done."""
        self.done = done


class Worker:
    """Does jobs, a few at a time. A service."""

    name = "worker"

    def __init__(
        self, jobs: Jobs, outbox: Outbox, kinds: Sequence[JobKind], *, jobs_at_once: int, attempts_max: int
    ) -> None:
        self._jobs = jobs
        self._outbox = outbox
        self._kinds = {kind.name: kind for kind in kinds}
        self._jobs_at_once = jobs_at_once
        self._attempts_max = attempts_max
        self._count_at = 0.0

    async def run(self) -> None:
        """Work until cancelled; running jobs are given back then."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._jobs_at_once):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                job = await self._lease()
                if job is not None:
                    await self._do(job)
                await self._count()
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("worker_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if job is None:
                await asyncio.sleep(POLL_SECONDS)

    async def _lease(self) -> LeasedJob | None:
        """A job, if there is one; it is given back when we are cancelled before we know that it is ours."""
        leasing = asyncio.create_task(self._jobs.lease(list(self._kinds)))
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            with suppress(*SUSPECTS):
                async with asyncio.timeout(GIVE_BACK_SECONDS):
                    job = await leasing
                    if job is not None:
                        await self._give_back(job)
            raise

    async def _count(self) -> None:
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + COUNT_SECONDS
            metrics.jobs_waiting.set(await self._jobs.waiting())

    async def _do(self, job: LeasedJob) -> None:
        facts = {"kind": job.kind, "job": job.number, "fence": job.fence}
        scope = structlog.contextvars.bound_contextvars(stream_id=str(job.stream_id), **facts)
        with trace_scope(job.traceparent), scope:
            try:
                await self._do_leased(self._kinds[job.kind], job)
            except LeaseLost:
                metrics.jobs.labels(job.kind, "lease-lost").inc()
                log.warning("lease_lost")
            except asyncio.CancelledError:
                await self._give_back(job)
                raise

    async def _do_leased(self, kind: JobKind, job: LeasedJob) -> None:
        if job.attempts > self._attempts_max:
            # Its holders died without a word, each time.
            await self._give_up(kind, job, job.failure or f"{job.attempts - 1} workers died of it")
            return
        started, progress = time.monotonic(), Progress()
        try:
            result = await self._while_alive(job, progress, kind.do(job, progress.report))
        except (ProcessError, MediaRefused, ObjectMissing) as error:
            await self._failed(kind, job, str(error))
        except SUSPECTS as error:
            if is_outage(error):
                reason = str(error) or type(error).__name__
                await self._jobs.retry(job, wait_seconds=OUTAGE_WAIT_SECONDS, failure=reason, forgive_attempt=True)
            raise
        else:
            await self._finish(kind, job, result, time.monotonic() - started)

    async def _finish(self, kind: JobKind, job: LeasedJob, result: Mapping[str, Any], seconds: float) -> None:
        try:
            async with self._outbox.transaction() as transaction:
                # In this order because everybody locks recordings before jobs; a lost lease rolls back all of it.
                await kind.finish(transaction, job, result)
                await self._jobs.finish(transaction.connection, job, result)
        except LeaseLost:
            with suppress(*SUSPECTS):
                await kind.discard(job, result)
            raise
        metrics.jobs.labels(job.kind, "done").inc()
        metrics.job_seconds.labels(job.kind).observe(seconds)
        log.info("job_done", seconds=round(seconds, 3))

    async def _failed(self, kind: JobKind, job: LeasedJob, reason: str) -> None:
        if job.attempts >= self._attempts_max:
            await self._give_up(kind, job, reason)
            return
        wait_seconds = min(RETRY_CEILING_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** (job.attempts - 1))
        await self._jobs.retry(job, wait_seconds=wait_seconds, failure=reason, forgive_attempt=False)
        metrics.jobs.labels(job.kind, "retried").inc()
        log.warning("job_failed", attempts=job.attempts, wait_seconds=wait_seconds, reason=reason)

    async def _give_up(self, kind: JobKind, job: LeasedJob, reason: str) -> None:
        async with self._outbox.transaction() as transaction:
            await kind.give_up(transaction, job, reason)
            await self._jobs.give_up(transaction.connection, job, failure=reason)
        metrics.jobs.labels(job.kind, "given-up").inc()
        log.error("job_given_up", attempts=job.attempts, reason=reason)

    async def _give_back(self, job: LeasedJob) -> None:
        with suppress(LeaseLost, *SUSPECTS):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._jobs.retry(job, wait_seconds=0, failure="its worker stopped", forgive_attempt=True)
                log.info("job_given_back")

    async def _while_alive(self, job: LeasedJob, progress: Progress, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` while the lease is kept. Raises LeaseLost and stops the work as soon as it is not."""
        working = asyncio.create_task(work)
        beating = asyncio.create_task(self._beat(job, progress))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                beating.result()
            return await working
        finally:
            working.cancel()
            beating.cancel()
            await asyncio.wait({working, beating})

    async def _beat(self, job: LeasedJob, progress: Progress) -> None:
        """Extend the lease until it is lost; an outage shorter than the lease is survived."""
        kept_until = time.monotonic() + self._jobs.lease_seconds
        while True:
            await asyncio.sleep(self._jobs.lease_seconds / 4)
            try:
                await self._jobs.extend(job, progress.done)
                kept_until = time.monotonic() + self._jobs.lease_seconds
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("lease_not_extended", reason=str(error) or type(error).__name__)
            if time.monotonic() >= kept_until:
                raise LeaseLost(job.stream_id, job.kind, job.number, job.fence)
