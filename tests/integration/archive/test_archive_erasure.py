"""Nothing of a deleted person is left in the archive: rows, jobs and objects go, whatever comes late or fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from archive import store
from archive.jobs.jobs import NewJob, add_jobs
from archive.library.deletion import mark_deleted, mark_restored
from archive.library.purge import Purger
from archive.media.playlist import LiveSegment
from archive.objects.keys import SEGMENT
from archive.people.erasing import RecordingsErasing
from archive.people.events import on_account_deleted, on_account_renamed
from events import DeleteReason
from runtime.erasure import Erasures
from runtime.ids import uuid7
from runtime.objects import StoreUnavailable
from runtime.objects_disk import DiskObjects
from tests.integration.archive.house import CHANNEL, House
from tests.integration.remains import deleted, erase_all, renamed, tables_of_people, tables_that_say

NAME = "marker_erased_7"


def worker(house: House) -> Erasures:
    purger = Purger(house.pool, house.outbox, house.objects)
    steps = RecordingsErasing(house.pool, house.outbox, purger).steps
    return Erasures(house.pool, steps, service="archive", again_seconds=0)


async def hear_deleted(house: House) -> None:
    async with house.outbox.transaction() as transaction:
        await on_account_deleted(transaction, deleted(CHANNEL))


async def due_now(house: House) -> None:
    await house.pool.execute("UPDATE erasures SET due_at = now()")


async def recorded(house: House, *, settled: bool = True) -> UUID:
    """A recording with an object, a segment and a job; over, and given up by its shipper if it is settled."""
    stream_id = await house.started()
    await house.ended(stream_id)
    await house.objects.put_bytes(f"{stream_id}/source/0.ts", b"0123456789", SEGMENT)
    await house.recordings.note_shipped(stream_id, LiveSegment(0, 2000, discontinuity=False), 10)
    async with house.outbox.transaction() as transaction:
        await add_jobs(transaction.connection, [NewJob(stream_id, "poster")])
    if settled:
        await settle(house, stream_id)
    return stream_id


async def settle(house: House, stream_id: UUID) -> None:
    await house.pool.execute(
        "UPDATE recordings SET settled_at = now(), segments_expected = 1 WHERE stream_id = $1", stream_id
    )


async def lived_in(house: House) -> list[UUID]:
    """A recording, one that its owner deleted, a clip in the making, and everything that is kept of a channel."""
    kept, dropped, clip = await recorded(house), await recorded(house), uuid7()
    async with house.outbox.transaction() as transaction:
        later = datetime.now(UTC) + timedelta(days=3)
        assert await mark_deleted(transaction, dropped, DeleteReason.OWNER, later)
        await on_account_renamed(transaction, renamed(CHANNEL, NAME))
    for statement, *arguments in (
        ("INSERT INTO recordings (stream_id, channel_id, channel_name, started_at, clip_of)"
         " VALUES ($1, $2, $3, now(), $4)", clip, CHANNEL, NAME, kept),
        ("INSERT INTO clip_requests (channel_id, request_key, request_sha256, clip_id)"
         " VALUES ($1, 'k', decode(repeat('00', 32), 'hex'), $2)", CHANNEL, clip),
        ("INSERT INTO channel_retention (channel_id, set_by) VALUES ($1, 'operator')", CHANNEL),
        ("INSERT INTO playback_grants (grant_sha256, stream_id, expires_at)"
         " VALUES (decode(repeat('00', 32), 'hex'), $1, now() + interval '1 hour')", kept),
    ):  # fmt: skip
        await house.pool.execute(statement, *arguments)
    return [kept, dropped, clip]


async def objects(house: House) -> list[str]:
    return [stored.key async for stored in house.objects.list("")]


async def test_nothing_of_a_deleted_person_is_left(house: House) -> None:
    streams = await lived_in(house)
    before = await tables_that_say(house.pool, "archive", CHANNEL, NAME)
    assert await tables_of_people(house.pool, "archive") <= before, "the test knows every table with people"
    await hear_deleted(house)
    row = await erase_all(worker(house), house.pool, CHANNEL)
    assert row["settled_at"] is not None
    assert await tables_that_say(house.pool, "archive", CHANNEL, NAME) == set()
    assert await tables_that_say(house.pool, "archive", *streams) == {"recordings"}, "the ids alone stay"
    assert await objects(house) == []
    said = await house.pool.fetch("SELECT data FROM outbox WHERE type = 'recording.deleted'")
    assert sum(b'"account"' in row["data"] for row in said) == 2, "the third was deleted before"
    async with house.outbox.transaction() as transaction:
        assert not await mark_restored(transaction, streams[1])


async def test_a_stream_that_still_runs_and_its_shipper_are_waited_for(house: House) -> None:
    running = await house.started()
    await house.pool.execute("UPDATE recordings SET channel_name = $1", NAME)
    await hear_deleted(house)
    await erase_all(worker(house), house.pool, CHANNEL)
    await house.ended(running)
    await due_now(house)
    await erase_all(worker(house), house.pool, CHANNEL)
    assert await Purger(house.pool, house.outbox, house.objects).round() == 0, "the shipper is at work"
    await house.objects.put_bytes(f"{running}/source/9.ts", b"last", SEGMENT)
    await settle(house, running)
    await due_now(house)
    await erase_all(worker(house), house.pool, CHANNEL)
    assert await tables_that_say(house.pool, "archive", CHANNEL, NAME) == set()
    assert await objects(house) == []


async def test_a_start_that_is_heard_late_wakes_the_erasure(house: House) -> None:
    await hear_deleted(house)
    assert (await erase_all(worker(house), house.pool, CHANNEL))["settled_at"] is not None
    late = await recorded(house)
    assert (await erase_all(worker(house), house.pool, CHANNEL))["settled_at"] is not None
    await house.started(late)  # and once more, by the redelivery of its event
    assert await tables_that_say(house.pool, "archive", CHANNEL, "ada") == set()
    assert await objects(house) == []


class AwayObjects(DiskObjects):
    """A store that deletes nothing."""

    async def delete(self, key: str) -> None:
        raise StoreUnavailable("delete", "it is away")


async def test_a_store_that_is_away_and_a_hold_are_waited_for(house: House, tmp_path: Path) -> None:
    streams = await lived_in(house)
    await house.pool.execute(
        "INSERT INTO retention_holds (hold_id, scope, subject_id, reason, placed_by)"
        " VALUES ($1, 'recording', $2, 'r', 'p')",
        uuid7(),
        streams[0],
    )

    await hear_deleted(house)
    async with AwayObjects(tmp_path / "objects") as away:
        without_store = House(house.pool, away, house.hls, house.work)
        assert (await erase_all(worker(without_store), house.pool, CHANNEL))["erased_at"] is None
    await due_now(house)
    assert (await erase_all(worker(house), house.pool, CHANNEL))["erased_at"] is None
    assert await objects(house) == [f"{streams[0]}/source/0.ts"]
    await house.pool.execute("UPDATE retention_holds SET released_at = now(), released_by = 'p'")
    await due_now(house)
    assert (await erase_all(worker(house), house.pool, CHANNEL))["erased_at"] is not None
    assert await objects(house) == []


async def test_a_rename_corrects_recordings_for_good(house: House) -> None:
    stream_id, at = await recorded(house), datetime.now(UTC)
    for name, moment in ((NAME, at), ("older", at - timedelta(hours=1))):
        async with house.outbox.transaction() as transaction:
            await on_account_renamed(transaction, renamed(CHANNEL, name, moment))
    late = uuid7()
    async with house.outbox.transaction() as transaction:
        await store.note_started(
            transaction.connection,
            stream_id=late,
            channel_id=CHANNEL,
            channel_name="ada",
            title="Engines",
            started_at=at - timedelta(minutes=1),
        )
    rows = await house.pool.fetch("SELECT stream_id, channel_name FROM recordings")
    assert {row["stream_id"]: row["channel_name"] for row in rows} == {stream_id: NAME, late: NAME}
