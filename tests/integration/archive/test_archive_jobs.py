"""Jobs: one winner, whatever the order; a worker that dies is replaced; a job that cannot be done ends the ladder."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from archive.errors import LeaseLost
from archive.jobs.jobs import Jobs, LeasedJob, NewJob, add_jobs
from archive.jobs.worker import Progress, Worker
from archive.ladder.chunks import CHUNK
from archive.objects.keys import SEGMENT
from runtime.ids import uuid7
from runtime.objects_disk import DiskObjects
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk


async def planned(house: House, jobs: int = 1) -> UUID:
    """Jobs that nobody does."""
    stream_id = uuid7()
    async with house.pool.acquire() as connection:
        await add_jobs(connection, [NewJob(stream_id, CHUNK, number, work_ms=2000) for number in range(jobs)])
    return stream_id


async def leased(jobs: Jobs) -> LeasedJob:
    job = await jobs.lease([CHUNK])
    assert job is not None
    return job


async def finish(house: House, job: LeasedJob, size_bytes: int = 1) -> None:
    async with house.pool.acquire() as connection:
        await house.jobs().finish(connection, job, {"480p": {"size_bytes": size_bytes, "codecs": None}})


async def give_up(house: House, job: LeasedJob) -> None:
    async with house.pool.acquire() as connection:
        await house.jobs().give_up(connection, job, failure="x")


async def run_out(house: House) -> None:
    """Every lease is over now."""
    await house.pool.execute("update jobs set due_at = now() - interval '1 second' where state = 'leased'")


async def test_a_job_is_given_to_one_worker(house: House) -> None:
    await planned(house, jobs=20)
    jobs = house.jobs()
    taken = await asyncio.gather(*(jobs.lease([CHUNK]) for _ in range(30)))
    numbers = [chunk.number for chunk in taken if chunk is not None]
    assert sorted(numbers) == list(range(20))


@pytest.mark.parametrize("late_first", [True, False])
async def test_of_two_workers_on_one_job_only_the_latest_wins(house: House, late_first: bool) -> None:
    await planned(house)
    jobs = house.jobs()
    old = await leased(jobs)
    await run_out(house)
    new = await leased(jobs)
    assert (old.fence, new.fence, new.attempts) == (1, 2, 2)
    if late_first:
        with pytest.raises(LeaseLost):
            await finish(house, old, 1)
        await finish(house, new, 2)
    else:
        await finish(house, new, 2)
        with pytest.raises(LeaseLost):
            await finish(house, old, 1)
    row = await house.pool.fetchrow("select state, fence, result ->> '480p' as made from jobs")
    assert row is not None
    assert (row["state"], row["fence"], json.loads(row["made"])["size_bytes"]) == ("done", 2, 2)


async def test_who_lost_the_lease_can_do_nothing_more(house: House) -> None:
    await planned(house)
    jobs = house.jobs()
    old = await leased(jobs)
    await run_out(house)
    new = await leased(jobs)
    for attempt in (
        jobs.extend(old),
        jobs.retry(old, wait_seconds=0, failure="x", forgive_attempt=False),
        give_up(house, old),
        finish(house, old),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    await jobs.extend(new)


async def test_a_finished_job_is_not_finished_twice(house: House) -> None:
    await planned(house)
    jobs = house.jobs()
    chunk = await leased(jobs)
    await finish(house, chunk)
    with pytest.raises(LeaseLost):
        await finish(house, chunk)
    assert await jobs.lease([CHUNK]) is None


async def test_a_kept_lease_is_not_given_away(house: House) -> None:
    await planned(house)
    jobs = house.jobs(lease_seconds=20)
    chunk = await leased(jobs)
    await run_out(house)
    await jobs.extend(chunk)
    assert await jobs.lease([CHUNK]) is None


async def test_a_job_that_is_given_back_waits_its_time_and_keeps_count(house: House) -> None:
    await planned(house)
    jobs = house.jobs()
    chunk = await leased(jobs)
    await jobs.retry(chunk, wait_seconds=60, failure="no luck", forgive_attempt=False)
    assert await jobs.lease([CHUNK]) is None
    await house.pool.execute("update jobs set due_at = now()")
    chunk = await leased(jobs)
    assert (chunk.attempts, chunk.failure, chunk.fence) == (2, "no luck", 2)
    await jobs.retry(chunk, wait_seconds=0, failure="away", forgive_attempt=True)
    assert (await leased(jobs)).attempts == 2


async def published(house: House, clip: Clip, *, chunk_seconds: float = 4.0) -> UUID:
    """A recording that plays and waits for its ladder."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    async with running(house.shipper(), house.finaliser(), house.planner(chunk_seconds=chunk_seconds)):
        await house.until_planned(stream_id)
    return stream_id


async def test_a_late_worker_cannot_replace_what_the_playlist_names(house: House, clip: Clip) -> None:
    stream_id = await published(house, clip)
    late = await leased(house.jobs())
    await run_out(house)
    async with running(house.worker(), house.planner(), house.completion()):
        await house.until_status(stream_id, "completed")
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert f"{late.number}-2.ts" in index
    worker, kind = house.worker(), house.chunk_kind()
    made = await kind.do(late, lambda _: None)
    key = f"{stream_id}/480p/{late.number}-1.ts"
    assert await house.objects.head(key) is not None
    with pytest.raises(LeaseLost):
        await worker._finish(kind, late, made, 0.1)
    assert await house.objects.head(key) is None
    await house.pieces(f"{stream_id}/480p/index.m3u8")
    assert await house.outcomes() == ["recording.published", "recording.completed"]


async def test_a_worker_whose_lease_is_lost_stops_its_work(house: House, clip: Clip) -> None:
    await published(house, clip)
    worker = house.worker(lease_seconds=1)
    chunk = await leased(house.jobs(lease_seconds=1))
    stopped = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await house.pool.execute("update jobs set fence = fence + 1 where number = $1", chunk.number)
    with pytest.raises(LeaseLost):
        await worker._while_alive(chunk, Progress(), endless())
    assert stopped.is_set()


class SilentObjects(DiskObjects):
    """A store on a disk that reads nothing: whoever asks it is at work until somebody stops him."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = asyncio.Event()

    async def get_file(self, key: str, path: Path) -> int:
        self.asked.set()
        await asyncio.Event().wait()
        return 0


async def test_a_stopped_worker_gives_its_job_back_at_once(house: House, clip: Clip, tmp_path: Path) -> None:
    await published(house, clip)
    async with SilentObjects(tmp_path / "objects") as objects:
        async with running(replace(house, objects=objects).worker(lease_seconds=600)):
            await asyncio.wait_for(objects.asked.wait(), 30)
            assert len(list(house.work.iterdir())) == 1
        assert list(house.work.iterdir()) == []
    rows = await house.pool.fetch("select state, attempts, fence from jobs where kind = 'chunk' order by number")
    assert [tuple(row) for row in rows] == [("pending", 0, 1), ("pending", 0, 0)]


async def test_a_worker_stopped_while_it_is_told_of_its_job_gives_it_back(house: House, clip: Clip) -> None:
    class SlowlyTold(Jobs):
        """What is leased is known to the worker only when the test allows it."""

        leased, told = asyncio.Event(), asyncio.Event()

        async def lease(self, kinds: Sequence[str]) -> LeasedJob | None:
            job = await super().lease(kinds)
            self.leased.set()
            await self.told.wait()
            return job

    await published(house, clip)
    jobs = SlowlyTold(house.pool, lease_seconds=600)
    worker = Worker(jobs, house.outbox, [house.chunk_kind()], jobs_at_once=1, attempts_max=3)
    working = asyncio.create_task(worker.run())
    await jobs.leased.wait()
    working.cancel()
    await asyncio.sleep(0)
    jobs.told.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await house.pool.fetchval("select count(*) from jobs where state = 'leased'") == 0
    assert await house.pool.fetchval("select count(*) from jobs where fence = 1 and attempts = 0") == 1


async def test_for_a_chunk_that_cannot_be_made_the_source_plays(house: House, clip: Clip) -> None:
    spoilt = replace(clip, segments=[*clip.segments[:3], bytes(len(clip.segments[3]))])
    stream_id = await published(house, spoilt, chunk_seconds=2.0)
    async with running(house.worker(attempts_max=2), house.completion()):
        done = await house.until_status(stream_id, "completed")
    assert list(done.renditions) == ["source", "480p"]
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert index.count("#EXT-X-DISCONTINUITY") == 1
    assert index.endswith("#EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n../source/3.ts\n#EXT-X-ENDLIST\n")
    attempts = await house.pool.fetchval("select attempts from jobs where kind = 'chunk' and number = 3")
    assert attempts == 2


async def test_a_ladder_of_which_most_cannot_be_made_fails_and_leaves_the_source(house: House, clip: Clip) -> None:
    nothing = [bytes(len(body)) for body in clip.segments]
    stream_id = await published(
        house, replace(clip, segments=[clip.segments[0], nothing[1], clip.segments[2], nothing[3]])
    )
    await house.pool.execute(
        "update jobs set particulars = jsonb_set(particulars, '{first_sequence}', particulars -> 'last_sequence') "
        "where kind = 'chunk'"
    )
    async with running(house.worker(attempts_max=2), house.completion()):
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure is not None
    assert failed.failure.startswith("2 of 2 chunks could not be made: ")
    assert failed.published_at is not None
    assert list(failed.renditions) == ["source"]
    assert "480p" not in await house.text(f"{stream_id}/master.m3u8")
    await house.pieces(f"{stream_id}/source/index.m3u8")
    assert await house.outcomes() == ["recording.published", "recording.failed"]


async def test_a_job_that_kills_its_workers_is_given_up(house: House, clip: Clip) -> None:
    stream_id = await published(house, clip)
    await house.pool.execute("update jobs set attempts = 3, state = 'leased', due_at = now() where kind = 'chunk'")
    async with running(house.worker(attempts_max=3), house.completion()):
        failed = await house.until_status(stream_id, "failed")
    assert failed.failure == "2 of 2 chunks could not be made: 3 workers died of it"


async def test_a_chunk_that_the_store_lost_is_made_again(house: House, clip: Clip) -> None:
    stream_id = await published(house, clip)
    async with running(house.worker()):

        async def all_done() -> bool:
            return all(chunk.state == "done" for chunk in await house.chunks(stream_id))

        await until(all_done)
    await house.objects.delete(f"{stream_id}/480p/1-1.ts")
    await house.objects.put_bytes(f"{stream_id}/480p/0-1.ts", b"cut", SEGMENT)
    async with running(house.planner(), house.completion(), house.worker()):
        await house.until_status(stream_id, "completed")
    assert len(await house.pieces(f"{stream_id}/480p/index.m3u8")) == 2


async def test_two_finalisers_with_one_recording_publish_it_once(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    disk.close(clip.segments[0], clip.durations_ms[0])
    await house.ended(stream_id)
    async with running(house.shipper()):

        async def settled() -> bool:
            return await house.recordings.settled_among([stream_id]) == {stream_id}

        await until(settled)
    claim = await house.recordings.claim_settled(claim_seconds=60)
    assert claim is not None
    await asyncio.gather(*(house.finaliser()._finalise_claimed(claim) for _ in range(3)))
    assert await house.outcomes() == ["recording.published"]


async def test_two_finalisers_and_two_completions_say_each_thing_once(house: House, clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    async with running(
        house.shipper(),
        house.finaliser(),
        house.finaliser(),
        house.worker(),
        house.worker(),
        house.planner(),
        house.completion(),
        house.planner(),
        house.completion(),
    ):
        await house.until_status(stream_id, "completed")
    assert await house.outcomes() == ["recording.published", "recording.completed"]
