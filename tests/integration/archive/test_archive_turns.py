"""Whose job is next: what a person waits for, then recordings in turn, those that are over before those that run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from uuid import UUID

import pytest

from archive.jobs.jobs import URGENT, USUAL, WHENEVER, LeasedJob, NewJob, add_jobs, again
from archive.ladder.chunks import CHUNK
from runtime.ids import uuid7
from tests.integration.archive.house import House

KINDS = [CHUNK, "download", "storyboard"]


async def added(
    house: House, jobs: int, *, kind: str = CHUNK, urgency: int = USUAL, stream_id: UUID | None = None
) -> UUID:
    stream_id = stream_id or uuid7()
    async with house.pool.acquire() as connection, connection.transaction():
        new = [NewJob(stream_id, kind, number, work_ms=6000, urgency=urgency) for number in range(jobs)]
        await add_jobs(connection, new)
    return stream_id


async def leases(house: House, number: int) -> list[LeasedJob]:
    taken = [await house.jobs().lease(KINDS) for _ in range(number)]
    return [job for job in taken if job is not None]


async def test_a_short_recording_does_not_wait_behind_a_long_one(house: House) -> None:
    long = await added(house, 6_000)
    assert {job.stream_id for job in await leases(house, 50)} == {long}
    short = await added(house, 10)
    taken = [job.stream_id for job in await leases(house, 20)]
    assert taken.count(short) >= 9


async def test_recordings_have_the_same_share(house: House) -> None:
    recordings = [await added(house, 30) for _ in range(5)]
    share = Counter(job.stream_id for job in await leases(house, 50))
    assert share == dict.fromkeys(recordings, 10)


async def test_what_a_person_waits_for_goes_first_and_the_rest_last(house: House) -> None:
    whenever = await added(house, 1, kind="storyboard", urgency=WHENEVER)
    usual = await added(house, 1)
    urgent = await added(house, 1, kind="download", urgency=URGENT)
    assert [job.stream_id for job in await leases(house, 3)] == [urgent, usual, whenever]


async def test_recordings_that_are_over_go_before_those_that_run(house: House) -> None:
    live = await house.started()
    await added(house, 4, stream_id=live)
    over = await house.started()
    await house.ended(over)
    await added(house, 2, stream_id=over)
    assert [job.stream_id for job in await leases(house, 3)] == [over, over, live]
    # Its end puts it among the others as soon as somebody plans more of it.
    await house.ended(live)
    async with house.pool.acquire() as connection:
        await add_jobs(connection, [NewJob(live, CHUNK, 4)])
    assert await house.pool.fetchval("select live from job_turns where stream_id = $1", live) is False


async def test_a_worker_is_given_only_what_it_can_do(house: House) -> None:
    await added(house, 1, kind="of a later version", urgency=URGENT)
    known = await added(house, 1)
    assert [job.stream_id for job in await leases(house, 2)] == [known]


async def test_who_has_no_jobs_left_leaves_and_may_come_back(house: House) -> None:
    stream_id = await added(house, 1)
    (job,) = await leases(house, 1)
    async with house.pool.acquire() as connection:
        await house.jobs().give_up(connection, job, failure="no luck")
    assert await leases(house, 1) == []
    assert await house.pool.fetchval("select count(*) from job_turns") == 0
    async with house.pool.acquire() as connection, connection.transaction():
        assert await again(connection, stream_id, CHUNK)
    (repeated,) = await leases(house, 1)
    assert (repeated.fence, repeated.attempts, repeated.failure) == (2, 1, None)


async def test_a_job_that_is_there_is_left_alone(house: House) -> None:
    stream_id = await added(house, 1)
    (job,) = await leases(house, 1)
    await added(house, 2, stream_id=stream_id)
    assert [other.number for other in await leases(house, 2)] == [1]
    await house.jobs().extend(job, 0.5)


async def test_no_job_is_lost_while_turns_come_and_go(house: House) -> None:
    """Jobs are added in single steps while workers empty the recording's turn again and again."""
    stream_id = uuid7()
    done: set[int] = set()

    async def add() -> None:
        for number in range(60):
            async with house.pool.acquire() as connection, connection.transaction():
                await add_jobs(connection, [NewJob(stream_id, CHUNK, number)])

    async def work() -> None:
        deadline = time.monotonic() + 60
        while len(done) < 60 and time.monotonic() < deadline:
            job = await house.jobs().lease(KINDS)
            if job is None:
                await asyncio.sleep(0)
                continue
            async with house.pool.acquire() as connection:
                await house.jobs().finish(connection, job, {})
            done.add(job.number)

    await asyncio.gather(add(), work(), work(), work())
    assert done == set(range(60))


@pytest.mark.heavy  # milliseconds are counted
async def test_leasing_looks_at_few_of_many_rows(house: House) -> None:
    await house.pool.execute(
        """
        insert into jobs (stream_id, kind, number, particulars, work_ms)
        select s, 'chunk', n, '{}', 6000
        from unnest($1::uuid[]) as s cross join generate_series(0, 999) as n
        """,
        recordings := [uuid7() for _ in range(50)],
    )
    await house.pool.execute("insert into job_turns (stream_id, urgency) select unnest($1::uuid[]), 1", recordings)
    await house.pool.execute("analyze jobs")
    async with house.pool.acquire() as connection:
        await connection.execute("select pg_stat_force_next_flush()")
        before = await connection.fetchval(_READ)
        for _ in range(20):
            assert await house.jobs().lease(KINDS) is not None
        await connection.execute("select pg_stat_force_next_flush()")
    async with house.pool.acquire() as connection:
        await connection.execute("select pg_stat_clear_snapshot()")
        assert await connection.fetchval(_READ) == before, "a lease has read the table from its start"


_READ = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables where relname like 'jobs_2%'"
