"""The sweeper on real stores: what nobody names goes, and nothing else; what is named and gone is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr

from archive.media.playlist import LiveSegment
from archive.objects.keys import PLAYLIST, SEGMENT
from archive.retention import store as retention_store
from archive.retention.plan import Scope, Tally
from archive.retention.sweeper import Sweeper, SweepReport, SweepRules
from runtime.ids import uuid7
from runtime.objects import ObjectStore
from runtime.objects_s3 import S3Objects, S3Place
from tests.integration.archive.house import CHANNEL, House

RULES = SweepRules(orphans_after=timedelta(hours=24), unknown_after=timedelta(days=30))
# The objects are put now, so the sweep happens in days to come.
LATER = datetime.now(UTC) + timedelta(days=2)
MUCH_LATER = datetime.now(UTC) + timedelta(days=40)


@pytest.fixture(params=["disk", "s3"])
async def objects(request: pytest.FixtureRequest, house: House) -> AsyncIterator[ObjectStore]:
    if request.param == "disk":
        yield house.objects
        return
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    async with S3Objects(place, public_read=True) as store:
        yield store


async def sweep(
    house: House, objects: ObjectStore | None = None, *, now: datetime = LATER, dry_run: bool = False, after: str = ""
) -> SweepReport:
    return await Sweeper(house.pool, objects or house.objects, RULES).sweep(now, dry_run=dry_run, after=after)


async def keys(objects: ObjectStore) -> set[str]:
    return {stored.key async for stored in objects.list()}


async def playing(house: House, objects: ObjectStore, *, segments: int = 3) -> UUID:
    """A completed recording: rows and objects."""
    stream_id = await house.started()
    await ship(house, objects, stream_id, segments)
    await house.pool.execute(
        "update recordings set status = 'completed', ended_at = now(), settled_at = now(), published_at = now(),"
        " completed_at = now(), duration_ms = 1 where stream_id = $1",
        stream_id,
    )
    await house.pool.execute(
        "insert into renditions (stream_id, name, rank, state, width_px, height_px, frame_rate, bits_per_second_peak,"
        " bits_per_second_average) values ($1, 'source', 0, 'ready', 1, 1, 1, 1, 1)",
        stream_id,
    )
    for key in (f"{stream_id}/master.m3u8", f"{stream_id}/source/index.m3u8"):
        await objects.put_bytes(key, b"#EXTM3U", PLAYLIST)
    return stream_id


async def ship(house: House, objects: ObjectStore, stream_id: UUID, segments: int) -> None:
    for number in range(segments):
        key = f"{stream_id}/source/{number}.ts"
        await objects.put_bytes(key, b"media", SEGMENT)
        await house.recordings.note_shipped(stream_id, LiveSegment(number, 2_000, discontinuity=False), 5)


async def test_what_nobody_names_goes_and_nothing_else(house: House, objects: ObjectStore) -> None:
    stream_id = await playing(house, objects)
    named = await keys(objects)
    orphans = {f"{stream_id}/480p/0-1.ts", f"{stream_id}/source/10.ts"}
    for key in orphans:
        await objects.put_bytes(key, b"orphan", SEGMENT)
    await objects.put_bytes("avatars/ada.ts", b"foreign", SEGMENT)
    for dry_run, left in ((True, orphans), (False, set[str]())):
        report = await sweep(house, objects, dry_run=dry_run)
        assert (report.orphans, report.orphan_bytes, report.foreign, report.missing) == (2, 12, 1, 0)
        assert report.orphans_by_channel == {CHANNEL: Tally(2, 12)}
        assert await keys(objects) == named | left | {"avatars/ada.ts"}
    assert (await sweep(house, objects)).orphans == 0


async def test_what_somebody_may_be_about_to_name_stays(house: House) -> None:
    done = await playing(house, house.objects)
    running = await house.started()
    await ship(house, house.objects, running, 2)
    busy = await playing(house, house.objects)
    await house.pool.execute("insert into jobs (stream_id, kind, state) values ($1, 'download', 'leased')", busy)
    for stream_id in (done, running, busy):
        await house.objects.put_bytes(f"{stream_id}/source/99.ts", b"new", SEGMENT)
    young = await sweep(house, now=datetime.now(UTC) + timedelta(hours=23))
    assert (young.orphans, young.young, young.kept) == (0, 1, 2)
    report = await sweep(house)
    assert (report.orphans, report.young, report.kept) == (1, 0, 2)
    left = await keys(house.objects)
    assert f"{done}/source/99.ts" not in left
    assert {f"{running}/source/99.ts", f"{busy}/source/99.ts"} <= left


async def test_a_hold_keeps_what_nobody_names_as_well(house: House) -> None:
    stream_id = await playing(house, house.objects)
    await house.objects.put_bytes(f"{stream_id}/source/99.ts", b"evidence", SEGMENT)
    await house.objects.put_bytes(f"{uuid7()}/source/0.ts", b"whose is it", SEGMENT)
    holds: list[tuple[Scope, UUID | None]] = [("everything", None), ("channel", CHANNEL), ("recording", stream_id)]
    for scope, subject_id in holds:
        hold_id = await retention_store.place_hold(
            house.pool, scope=scope, subject_id=subject_id, reason="a court asked", placed_by="ada"
        )
        report = await sweep(house, now=MUCH_LATER)
        assert (report.orphans, report.kept) == (0, 2)
        await retention_store.release_hold(house.pool, hold_id, released_by="ada")
    assert (await sweep(house, now=MUCH_LATER)).orphans == 2


async def test_what_is_named_and_gone_is_said_and_not_repaired(house: House, objects: ObjectStore) -> None:
    one, whole = await playing(house, objects), await playing(house, objects)
    await objects.delete(f"{one}/source/1.ts")
    for key in await keys(objects):
        if key.startswith(str(whole)):
            await objects.delete(key)
    before = await house.pool.fetchval("select count(*) from segments")
    report = await sweep(house, objects)
    assert report.missing == 1 + 5
    assert f"{one}/source/1.ts" in report.missing_keys
    assert f"{whole}/master.m3u8" in report.missing_keys
    assert await house.pool.fetchval("select count(*) from segments") == before


async def test_an_unknown_folder_is_left_for_long(house: House) -> None:
    await playing(house, house.objects)
    key = f"{uuid7()}/source/0.ts"
    await house.objects.put_bytes(key, b"lost", SEGMENT)
    assert (await sweep(house)).young == 1
    assert (await sweep(house, now=MUCH_LATER)).orphans == 1
    assert key not in await keys(house.objects)


async def test_with_the_wrong_database_nothing_more_is_removed(house: House) -> None:
    await playing(house, house.objects, segments=1)
    for _ in range(30):
        await house.objects.put_bytes(f"{uuid7()}/source/0.ts", b"another's", SEGMENT)
    report = await sweep(house, now=MUCH_LATER)
    assert report.stopped
    assert report.orphans <= 10


async def test_a_sweep_goes_on_behind_the_folder_that_was_done(house: House) -> None:
    first, second = await playing(house, house.objects), await playing(house, house.objects)
    for stream_id in (first, second):
        await house.objects.put_bytes(f"{stream_id}/source/99.ts", b"orphan", SEGMENT)
    kept: list[str] = []

    async def killed(done: str) -> None:
        kept.append(done)
        if done == str(first):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Sweeper(house.pool, house.objects, RULES).sweep(LATER, dry_run=False, keep=killed)
    assert kept == ["", str(first)]
    report = await sweep(house, after=kept[-1])
    assert (report.orphans, report.folders_known, report.objects) == (1, 1, 6)
    assert (await sweep(house)).orphans == 0
