"""The purge: everything of a deleted recording goes when its time has come, whatever kills it, and nothing before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from archive.jobs.jobs import LeasedJob, NewJob, add_jobs
from archive.library.deletion import mark_deleted, mark_restored
from archive.library.purge import Purger
from archive.media.playlist import LiveSegment
from archive.objects.keys import JPEG, SEGMENT
from archive.retention.store import place_hold, release_hold
from eventbus.outbox import Transaction
from events import DeleteReason
from runtime.objects import StoredObject, StoreUnavailable
from runtime.objects_disk import DiskObjects
from tests.integration.archive.house import House, running, until

SEGMENTS = 30


class DyingObjects(DiskObjects):
    """A store on disk of which some deletes fail."""

    deletes_left = 0

    async def delete(self, key: str) -> None:
        """Remove the object, or fail."""
        if self.deletes_left == 0:
            raise StoreUnavailable("delete", "it is away")
        self.deletes_left -= 1
        await super().delete(key)


class SlowKind:
    """Makes an object, and is done when the test lets it."""

    name = "slow"

    def __init__(self, house: House) -> None:
        self._house = house
        self.begun, self.go_on, self.discarded = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def do(self, job: LeasedJob, report: Callable[[float], None]) -> Mapping[str, Any]:
        """Put the object when the test says so."""
        self.begun.set()
        await self.go_on.wait()
        await self._house.objects.put_bytes(f"{job.stream_id}/slow-{job.fence}.jpg", b"late", JPEG)
        return {}

    async def finish(self, transaction: Transaction, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Nothing to say."""

    async def give_up(self, transaction: Transaction, job: LeasedJob, reason: str) -> None:
        """It is not given up."""

    async def discard(self, job: LeasedJob, result: Mapping[str, Any]) -> None:
        """Remove what was made."""
        await self._house.objects.delete(f"{job.stream_id}/slow-{job.fence}.jpg")
        self.discarded.set()


def purger(house: House) -> Purger:
    return Purger(house.pool, house.outbox, house.objects)


async def full(house: House) -> UUID:
    """A recording with segments, and objects that no row names."""
    stream_id = await house.started()
    await house.ended(stream_id)
    for sequence in range(SEGMENTS):
        await house.objects.put_bytes(f"{stream_id}/source/{sequence}.ts", b"0123456789", SEGMENT)
        await house.recordings.note_shipped(stream_id, LiveSegment(sequence, 2000, discontinuity=False), 10)
    await house.objects.put_bytes(f"{stream_id}/poster-1.jpg", b"jpeg", JPEG)
    return stream_id


async def delete(house: House, stream_id: UUID, *, due_in_seconds: float = 0.0) -> None:
    purge_at = datetime.now(UTC) + timedelta(seconds=due_in_seconds)
    async with house.outbox.transaction() as transaction:
        assert await mark_deleted(transaction, stream_id, DeleteReason.OWNER, purge_at)


async def stored(house: House, stream_id: UUID) -> list[StoredObject]:
    return [found async for found in house.objects.list(f"{stream_id}/")]


async def test_everything_of_a_due_recording_goes_and_only_of_it(house: House) -> None:
    due, later, kept = [await full(house) for _ in range(3)]
    await delete(house, due)
    await delete(house, later, due_in_seconds=3600)
    assert await purger(house).round() == 1
    assert await stored(house, due) == []
    for untouched in (later, kept):
        assert len(await stored(house, untouched)) == SEGMENTS + 1
        assert len(await house.recordings.shipped(untouched)) == SEGMENTS
    gone = await house.recording(due)
    assert (gone.purged_at is not None, gone.title, gone.status) == (True, "", "failed")
    assert await house.recordings.shipped(due) == set()
    assert await house.recordings.settled_among([due]) == {due}, "no shipper follows its directory again"
    assert await purger(house).round() == 0
    async with house.outbox.transaction() as transaction:
        assert not await mark_restored(transaction, due)
    await house.started(due)
    await house.ended(due)
    assert (await house.recording(due)).purged_at is not None


async def test_a_restored_one_stays(house: House) -> None:
    stream_id = await full(house)
    await delete(house, stream_id, due_in_seconds=3600)
    async with house.outbox.transaction() as transaction:
        assert await mark_restored(transaction, stream_id)
    assert await purger(house).round() == 0
    assert len(await stored(house, stream_id)) == SEGMENTS + 1


async def test_a_hold_keeps_it_until_it_is_released(house: House) -> None:
    stream_id = await full(house)
    await delete(house, stream_id)
    hold_id = await place_hold(house.pool, scope="recording", subject_id=stream_id, reason="court", placed_by="a test")
    assert await purger(house).round() == 0
    assert len(await stored(house, stream_id)) == SEGMENTS + 1
    await release_hold(house.pool, hold_id, released_by="a test")
    assert await purger(house).round() == 1


async def test_a_purge_that_died_goes_on_where_it_was(house: House, tmp_path: Path) -> None:
    stream_id = await full(house)
    await delete(house, stream_id)
    async with DyingObjects(tmp_path / "objects") as dying:
        for deletes_left in (0, 1, 7, 8, 9):
            dying.deletes_left = deletes_left
            with pytest.raises(StoreUnavailable):
                await Purger(house.pool, house.outbox, dying).round()
            async with house.outbox.transaction() as transaction:
                assert not await mark_restored(transaction, stream_id)
    assert 0 < len(await stored(house, stream_id)) < SEGMENTS
    assert await purger(house).round() == 1
    assert await stored(house, stream_id) == []


async def test_whoever_works_on_it_has_lost_the_lease_and_leaves_nothing(house: House) -> None:
    stream_id, kind = await full(house), SlowKind(house)
    async with house.pool.acquire() as connection, connection.transaction():
        await add_jobs(connection, [NewJob(stream_id, kind.name)])
    # It must not find out by itself, before it has made something.
    async with running(house.worker(kind, lease_seconds=600)):
        await asyncio.wait_for(kind.begun.wait(), 30)
        await delete(house, stream_id)
        assert await purger(house).round() == 1
        kind.go_on.set()
        await asyncio.wait_for(kind.discarded.wait(), 30)
    assert await stored(house, stream_id) == []


async def test_the_service_purges_by_itself_and_two_do_not_disturb_each_other(house: House) -> None:
    recordings = [await full(house) for _ in range(3)]
    for stream_id in recordings:
        await delete(house, stream_id)
    async with running(purger(house), purger(house)):

        async def all_gone() -> bool:
            found = await asyncio.gather(*(stored(house, stream_id) for stream_id in recordings))
            return not any(found)

        await until(all_gone)
