"""Jobs of every kind: leased rows with a fence, for any number of workers.

A worker leases a row, says now and then that it is alive and how far it is, and finishes it. Every lease has a higher
fence than the one before, and only the holder of the latest may finish: of two workers on one job only one wins,
whatever the order. Urgent jobs go first; within an urgency, recordings take turns by how much was done for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from archive.errors import LeaseLost
from archive.store import QUERIES
from eventbus.outbox import Transaction
from runtime.postgres import Connection, Pool

FAILURE_CHARACTERS_MAX = 2_000
WAITING_MAX = 100_000

URGENT, USUAL, WHENEVER = 0, 1, 2
"""A person waits for it; the ladder; whenever there is time."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """Something to be done to a recording; ``work_ms`` is about how much media that goes through."""

    stream_id: UUID
    kind: str
    number: int = 0
    particulars: Mapping[str, Any] = field(default_factory=dict)
    work_ms: int = 0
    urgency: int = USUAL


@dataclass(frozen=True, slots=True)
class LeasedJob:
    """One job in our hands; ``attempts`` counts this lease, ``failure`` is what ended the one before."""

    stream_id: UUID
    kind: str
    number: int
    particulars: Mapping[str, Any]
    work_ms: int
    fence: int
    attempts: int
    failure: str | None
    traceparent: str | None


class JobKind(Protocol):
    """Who does the jobs of one kind."""

    @property
    def name(self) -> str:
        """What its jobs say in `kind`."""
        ...

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """Make and store the objects, with the fence in their names; the answer says what they are, for JSON.

        ``report`` takes how much is done (0..1). Raises ProcessError, MediaRefused, ObjectMissing, which are the job's
        fault (tried again, then given up), or an outage (see `archive.outages`), which is waited for.
        """
        ...

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Write rows and say events, in the transaction that marks the job done."""
        ...

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """The same in the transaction that marks it failed for good."""
        ...

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Remove the objects that `do` has made: somebody else has the job now."""
        ...


async def add_jobs(connection: Connection, jobs: Sequence[NewJob]) -> None:
    """Have jobs done, once the caller's transaction commits; one that exists is left alone."""
    if not jobs:
        return
    stream_ids, urgencies = [job.stream_id for job in jobs], [job.urgency for job in jobs]
    await QUERIES.add_jobs(
        connection,
        stream_ids=stream_ids,
        kinds=[job.kind for job in jobs],
        numbers=[job.number for job in jobs],
        particulars=[json.dumps(dict(job.particulars)) for job in jobs],
        work_ms=[job.work_ms for job in jobs],
        urgencies=urgencies,
    )
    await QUERIES.add_turns(connection, stream_ids=stream_ids, urgencies=urgencies)


async def again(connection: Connection, stream_id: UUID, kind: str, number: int = 0) -> bool:
    """Have a job that failed for good, or is done, done again from its first attempt; false when it is neither."""
    urgency = await QUERIES.do_again(connection, stream_id=stream_id, kind=kind, number=number)
    if urgency is not None:
        await QUERIES.add_turns(connection, stream_ids=[stream_id], urgencies=[urgency])
    return urgency is not None


class Jobs:
    """The jobs of all recordings, for one worker."""

    def __init__(self, pool: Pool, *, lease_seconds: float) -> None:
        self._pool = pool
        self.lease_seconds = lease_seconds

    async def lease(self, kinds: Sequence[str]) -> LeasedJob | None:
        """The next job of these kinds, or None when there is none to do now."""
        row = await QUERIES.lease_job(self._pool, kinds=kinds, lease_seconds=self.lease_seconds)
        return None if row is None else LeasedJob(**(dict(row) | {"particulars": json.loads(row["particulars"])}))

    async def extend(self, job: LeasedJob, progress: float = 0.0) -> None:
        """Say that the work goes on, and how much of it is done (0..1). Raises LeaseLost."""
        changed = await QUERIES.extend_lease(
            self._pool, lease_seconds=self.lease_seconds, progress=min(1.0, max(0.0, progress)), **_key(job)
        )
        _held(job, changed)

    async def finish(self, connection: Connection, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """The job's objects are in the store, once the caller's transaction commits. Raises LeaseLost."""
        _held(job, await QUERIES.finish_job(connection, result=json.dumps(dict(result)), **_key(job)))

    async def retry(self, job: LeasedJob, *, wait_seconds: float, failure: str, forgive_attempt: bool) -> None:
        """Give the job back for another try after a while. Raises LeaseLost."""
        changed = await QUERIES.retry_job(
            self._pool,
            wait_seconds=wait_seconds,
            failure=failure[:FAILURE_CHARACTERS_MAX],
            attempts_forgiven=int(forgive_attempt),
            **_key(job),
        )
        _held(job, changed)

    async def give_up(self, connection: Connection, job: LeasedJob, *, failure: str) -> None:
        """The job has failed for good, once the caller's transaction commits. Raises LeaseLost."""
        _held(job, await QUERIES.give_up_job(connection, failure=failure[:FAILURE_CHARACTERS_MAX], **_key(job)))

    async def waiting(self) -> int:
        """How many jobs are not done, at most WAITING_MAX: counting millions takes seconds."""
        count: int = await QUERIES.count_waiting_jobs(self._pool, rows_max=WAITING_MAX)
        return count


def _key(job: LeasedJob) -> dict[str, object]:
    return {"stream_id": job.stream_id, "kind": job.kind, "number": job.number, "fence": job.fence}


def _held(job: LeasedJob, rows_changed: int) -> None:
    if rows_changed != 1:
        raise LeaseLost(job.stream_id, job.kind, job.number, job.fence)
