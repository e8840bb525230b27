"""Works through the transcoding jobs: leases one, keeps the lease alive, does it, says so; any number of workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from archive import metrics
from archive.errors import LeaseLost, MediaRefused, ObjectMissing, ObjectStoreError, ProcessError, StoreUnavailable
from archive.jobs import Jobs, LeasedChunk
from archive.ladder import Rendition, step_named
from archive.objects import ObjectStore
from archive.outages import SUSPECTS, is_outage
from archive.store import QUERIES, Recordings
from archive.transcode import MadeChunk, Transcoder
from runtime.backoff import Backoff
from runtime.postgres import Pool
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)
T = TypeVar("T")

POLL_SECONDS = 0.3
RETRY_FIRST_SECONDS = 1.0
RETRY_CEILING_SECONDS = 60.0
OUTAGE_WAIT_SECONDS = 2.0
# A worker that is asked to stop gives its jobs back, so that nobody has to wait for the lease.
GIVE_BACK_SECONDS = 2.0


class Worker:
    """Does jobs, a few at a time. A service."""

    name = "worker"

    def __init__(
        self,
        pool: Pool,
        jobs: Jobs,
        objects: ObjectStore,
        transcoder: Transcoder,
        *,
        jobs_at_once: int,
        attempts_max: int,
    ) -> None:
        self._pool = pool
        self._recordings = Recordings(pool)
        self._jobs = jobs
        self._objects = objects
        self._transcoder = transcoder
        self._jobs_at_once = jobs_at_once
        self._attempts_max = attempts_max

    async def run(self) -> None:
        """Work until cancelled; running jobs are given back then."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._jobs_at_once):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                chunk = await self._jobs.lease()
                if chunk is not None:
                    await self._do(chunk)
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("worker_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if chunk is None:
                metrics.jobs_waiting.set(await self._jobs.waiting())
                await asyncio.sleep(POLL_SECONDS)

    async def _do(self, chunk: LeasedChunk) -> None:
        facts = {"rendition": chunk.rendition, "chunk": chunk.number, "fence": chunk.fence}
        scope = structlog.contextvars.bound_contextvars(stream_id=str(chunk.stream_id), **facts)
        with trace_scope(chunk.traceparent), scope:
            try:
                await self._do_leased(chunk)
            except LeaseLost:
                metrics.jobs.labels("lease-lost").inc()
                log.warning("lease_lost")
            except asyncio.CancelledError:
                await self._give_back(chunk)
                raise

    async def _do_leased(self, chunk: LeasedChunk) -> None:
        if chunk.attempts > self._attempts_max:
            # Its holders died without a word, each time.
            await self._give_up(chunk, chunk.failure or f"{chunk.attempts - 1} workers died of it")
            return
        started = time.monotonic()
        try:
            made = await self._while_alive(chunk, self._make(chunk))
        except (ProcessError, MediaRefused, ObjectMissing) as error:
            await self._failed(chunk, str(error))
        except SUSPECTS as error:
            if is_outage(error):
                reason = str(error) or type(error).__name__
                await self._jobs.retry(chunk, wait_seconds=OUTAGE_WAIT_SECONDS, failure=reason, forgive_attempt=True)
            raise
        else:
            await self._finish(chunk, made, time.monotonic() - started)

    async def _make(self, chunk: LeasedChunk) -> MadeChunk:
        row = await QUERIES.find_rendition(self._pool, stream_id=chunk.stream_id, name=chunk.rendition)
        step = step_named(chunk.rendition)
        rendition = Rendition(step.name, row["width_px"], row["height_px"], step.video_bits_per_second_max)
        segments = await self._recordings.segment_range(chunk.stream_id, chunk.first_sequence, chunk.last_sequence)
        return await self._transcoder.make(chunk, segments, rendition)

    async def _finish(self, chunk: LeasedChunk, made: MadeChunk, seconds: float) -> None:
        try:
            await self._jobs.finish(chunk, size_bytes=made.size_bytes, codecs=made.codecs)
        except LeaseLost:
            # Nobody names our object: the winner's has another fence in its name.
            with suppress(ObjectStoreError):
                await self._objects.delete(made.key)
            raise
        metrics.jobs.labels("done").inc()
        metrics.job_seconds.observe(seconds)
        log.info("chunk_done", frames=made.frames, size_bytes=made.size_bytes, seconds=round(seconds, 3))

    async def _failed(self, chunk: LeasedChunk, reason: str) -> None:
        if chunk.attempts >= self._attempts_max:
            await self._give_up(chunk, reason)
            return
        wait_seconds = min(RETRY_CEILING_SECONDS, RETRY_FIRST_SECONDS * 2.0 ** (chunk.attempts - 1))
        await self._jobs.retry(chunk, wait_seconds=wait_seconds, failure=reason, forgive_attempt=False)
        metrics.jobs.labels("retried").inc()
        log.warning("chunk_failed", attempts=chunk.attempts, wait_seconds=wait_seconds, reason=reason)

    async def _give_up(self, chunk: LeasedChunk, reason: str) -> None:
        await self._jobs.give_up(chunk, failure=reason)
        metrics.jobs.labels("given-up").inc()
        log.error("chunk_given_up", attempts=chunk.attempts, reason=reason)

    async def _give_back(self, chunk: LeasedChunk) -> None:
        with suppress(LeaseLost, StoreUnavailable, *SUSPECTS):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._jobs.retry(chunk, wait_seconds=0, failure="its worker stopped", forgive_attempt=True)
                log.info("chunk_given_back")

    async def _while_alive(self, chunk: LeasedChunk, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` while the lease is kept. Raises LeaseLost and stops the work as soon as it is not."""
        working = asyncio.create_task(work)
        beating = asyncio.create_task(self._beat(chunk))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                beating.result()
            return await working
        finally:
            working.cancel()
            beating.cancel()
            await asyncio.wait({working, beating})

    async def _beat(self, chunk: LeasedChunk) -> None:
        """Extend the lease until it is lost; an outage shorter than the lease is survived."""
        kept_until = time.monotonic() + self._jobs.lease_seconds
        while True:
            await asyncio.sleep(self._jobs.lease_seconds / 4)
            try:
                await self._jobs.extend(chunk)
                kept_until = time.monotonic() + self._jobs.lease_seconds
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("lease_not_extended", reason=str(error) or type(error).__name__)
            if time.monotonic() >= kept_until:
                raise LeaseLost(chunk.stream_id, chunk.rendition, chunk.number, chunk.fence)
