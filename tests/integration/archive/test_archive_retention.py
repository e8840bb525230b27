"""Retention on a real database: what is due, what a hold keeps, and rounds that a kill does not spoil."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from archive.library.deletion import mark_restored
from archive.objects.keys import SEGMENT
from archive.retention import store as retention_store
from archive.retention.plan import ChannelTerms, Scope, Tally, Terms
from archive.retention.work import RetentionWork
from archive.rounds import RoundLost, Rounds, claim_round
from runtime.ids import uuid7
from runtime.objects import ObjectMissing, ObjectStore, StoreUnavailable
from runtime.objects_disk import DiskObjects
from runtime.objects_s3 import S3Objects, S3Place
from tests.engines import S3
from tests.integration.archive.house import CHANNEL, House, running, until

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TERMS = Terms(90, 1_095)


async def recorded(house: House, *, days_old: float, channel_id: UUID = CHANNEL, preserve: bool = False) -> UUID:
    """A recording that was published so many days before NOW."""
    stream_id, at = uuid7(), NOW - timedelta(days=days_old)
    await house.pool.execute(
        "insert into recordings (stream_id, channel_id, status, started_at, ended_at, settled_at, published_at,"
        " completed_at, duration_ms, size_bytes, preserve)"
        " values ($1, $2, 'completed', $3, $3, $3, $3, $3, 1000, 7, $4)",
        stream_id,
        channel_id,
        at,
        preserve,
    )
    return stream_id


async def due(house: House, *, held: bool = False) -> tuple[set[UUID], set[UUID]]:
    """What is to be cooled, and what is to be deleted."""
    cool = await retention_store.list_due_to_cool(house.pool, TERMS, NOW, rows_max=100, held=held)
    delete = await retention_store.list_due_to_delete(house.pool, TERMS, NOW, rows_max=100, held=held)
    return {one.stream_id for one in cool}, {one.stream_id for one in delete}


async def test_age_decides_unless_it_is_preserved_or_its_channel_has_other_terms(house: House) -> None:
    brief, patient = uuid7(), uuid7()
    await retention_store.set_terms(house.pool, ChannelTerms(brief, 10, 20), set_by="ada")
    await retention_store.set_terms(house.pool, ChannelTerms(patient, "never", "never"), set_by="ada")
    await recorded(house, days_old=89)
    warm = await recorded(house, days_old=90)
    old = await recorded(house, days_old=1_095)
    await recorded(house, days_old=2_000, preserve=True)
    await recorded(house, days_old=2_000, channel_id=patient)
    await recorded(house, days_old=9, channel_id=brief)
    brief_warm = await recorded(house, days_old=15, channel_id=brief)
    brief_old = await recorded(house, days_old=21, channel_id=brief)
    assert await due(house) == ({warm, old, brief_warm, brief_old}, {old, brief_old})
    await retention_store.set_terms(house.pool, ChannelTerms(brief, None, None), set_by="ada")
    assert await due(house) == ({warm, old}, {old})


async def test_a_hold_keeps_what_it_covers_until_it_is_released(house: House) -> None:
    other = uuid7()
    mine, theirs = await recorded(house, days_old=2_000), await recorded(house, days_old=2_000, channel_id=other)
    scopes: list[tuple[Scope, UUID | None, set[UUID]]] = [
        ("recording", mine, {mine}),
        ("channel", other, {theirs}),
        ("everything", None, {mine, theirs}),
    ]
    for scope, subject_id, kept in scopes:
        hold_id = await retention_store.place_hold(
            house.pool, scope=scope, subject_id=subject_id, reason="a court asked", placed_by="ada"
        )
        assert await due(house, held=True) == (kept, kept)
        assert await due(house) == ({mine, theirs} - kept, {mine, theirs} - kept)
        async with house.pool.acquire() as connection, connection.transaction():
            for one in (mine, theirs):
                assert await retention_store.is_held(connection, one) == (one in kept)
                assert (await retention_store.may_go(connection, one) is None) == (one in kept)
        assert await retention_store.release_hold(house.pool, hold_id, released_by="bob")
        assert not await retention_store.release_hold(house.pool, hold_id, released_by="bob")
    assert await due(house) == ({mine, theirs}, {mine, theirs})
    assert [hold.released_by for hold in await retention_store.list_holds(house.pool, include_released=True)] == [
        "bob"
    ] * 3
    assert await retention_store.list_holds(house.pool) == []


class ColderDisk(DiskObjects):
    """A disk that pretends to have a colder class, and may fail after so many moves."""

    def __init__(self, root: Path, *, moves_max: int = 1_000) -> None:
        super().__init__(root)
        self.moves_max = moves_max
        self.cold: list[str] = []

    async def cool(self, key: str) -> bool:
        if await self.head(key) is None:
            raise ObjectMissing(key)
        if len(self.cold) >= self.moves_max:
            raise StoreUnavailable(f"cool {key}", "killed")
        self.cold.append(key)
        return True


def work(house: House, objects: ObjectStore, *, has_colder_class: bool = True) -> RetentionWork:
    return RetentionWork(
        house.pool,
        house.outbox,
        objects,
        TERMS,
        has_colder_class=has_colder_class,
        undo_seconds=3_600,
        rows_max=100,
    )


async def test_a_cooling_that_was_cut_short_goes_on_where_it_was(house: House, tmp_path: Path) -> None:
    stream_id = await recorded(house, days_old=100)
    keys = [f"{stream_id}/source/{number}.ts" for number in range(40)]
    async with ColderDisk(tmp_path / "cold", moves_max=20) as objects:
        for key in [*keys, f"{stream_id}/master.m3u8"]:
            await objects.put_bytes(key, b"x", SEGMENT)
        with pytest.raises(StoreUnavailable):
            await work(house, objects).round(NOW)
        assert await house.pool.fetchval("select cooled_to from recordings") == sorted(keys)[15]
        assert await house.pool.fetchval("select cold_at from recordings") is None
        objects.moves_max = 1_000
        done = await work(house, objects).round(NOW)
        assert done.tally("cool") == Tally(1, 7)
        assert set(objects.cold) == set(keys), "media alone"
        assert len(objects.cold) < 2 * len(keys), "it did not begin anew"
        assert await house.pool.fetchval("select cold_at from recordings") is not None
        assert (await work(house, objects).round(NOW)).steps == []


async def test_what_is_preserved_while_it_is_cooled_stays(house: House, tmp_path: Path) -> None:
    stream_id = await recorded(house, days_old=100)
    async with ColderDisk(tmp_path / "cold", moves_max=20) as objects:
        for number in range(40):
            await objects.put_bytes(f"{stream_id}/source/{number}.ts", b"x", SEGMENT)

        async def preserve() -> None:
            await house.pool.execute("update recordings set preserve = true")

        assert (await work(house, objects).round(NOW, preserve)).steps == []
        assert objects.cold == []


async def test_an_old_recording_is_deleted_so_that_it_can_be_undone(house: House) -> None:
    old = await recorded(house, days_old=2_000)
    kept = await recorded(house, days_old=2_000, preserve=True)
    done = await work(house, house.objects, has_colder_class=False).round(NOW)
    assert done.tally("delete") == Tally(1, 7)
    row = await house.pool.fetchrow("select * from recordings where stream_id = $1", old)
    assert row is not None
    assert row["delete_reason"] == "retention"
    assert row["purge_due_at"] == NOW + timedelta(hours=1)
    assert await house.pool.fetchval("select deleted_at from recordings where stream_id = $1", kept) is None
    assert [(kind, data["stream_id"], data["reason"]) for kind, data in await house.said()] == [
        ("recording.deleted", str(old), "retention")
    ]


async def test_whoever_restores_an_old_recording_keeps_it(house: House) -> None:
    old = await recorded(house, days_old=2_000)
    work_ = work(house, house.objects, has_colder_class=False)
    await work_.round(datetime.now(UTC))
    async with house.outbox.transaction() as transaction:
        assert await mark_restored(transaction, old)
    assert (await work_.round(NOW)).steps == []


async def test_a_hold_that_comes_after_the_plan_still_keeps(house: House) -> None:
    await recorded(house, days_old=2_000)

    async def hold() -> None:
        await retention_store.place_hold(
            house.pool, scope="everything", subject_id=None, reason="a court asked", placed_by="ada"
        )

    assert (await work(house, house.objects, has_colder_class=False).round(NOW, hold)).steps == []


async def test_a_hold_waits_for_what_has_asked(house: House) -> None:
    stream_id = await recorded(house, days_old=2_000)
    async with house.pool.acquire() as connection, connection.transaction():
        assert not await retention_store.is_held(connection, stream_id)
        holding = asyncio.create_task(
            retention_store.place_hold(
                house.pool, scope="recording", subject_id=stream_id, reason="a court asked", placed_by="ada"
            )
        )

        async def waits() -> bool:
            return bool(await house.pool.fetchval("select count(*) from pg_locks where not granted"))

        await until(waits)
        assert not holding.done()
    await holding


async def test_a_store_without_a_colder_class_moves_nothing(house: House) -> None:
    stream_id = await recorded(house, days_old=100)
    await house.objects.put_bytes(f"{stream_id}/source/0.ts", b"x", SEGMENT)
    assert await work(house, house.objects, has_colder_class=False).due(NOW, rows_max=10) == []
    assert (await work(house, house.objects).round(NOW)).steps == []


async def test_one_process_at_a_time_does_a_round_and_the_next_goes_on_where_it_was(house: House) -> None:
    first = await claim_round(house.pool, "sweep")
    assert first is not None
    assert await claim_round(house.pool, "sweep") is None
    await first.keep("a")
    await house.pool.execute("update retention_rounds set due_at = now() - interval '1 second'")
    second = await claim_round(house.pool, "sweep")
    assert second is not None
    assert second.cursor == "a"
    with pytest.raises(RoundLost):
        await first.keep("b")
    await second.end(wait_seconds=60)
    assert await claim_round(house.pool, "sweep") is None
    assert await house.pool.fetchval("select cursor from retention_rounds where kind = 'sweep'") == ""


async def test_the_service_does_a_round_and_rests(house: House) -> None:
    old = await recorded(house, days_old=4_000)
    work_ = work(house, house.objects, has_colder_class=False)

    async def deleted() -> bool:
        return bool(await house.pool.fetchval("select deleted_at from recordings where stream_id = $1", old))

    async with running(Rounds(house.pool, "retention", work_.do, every_seconds=60)):
        await until(deleted)


async def test_on_s3_media_change_their_class_and_are_read_as_before(house: House, s3: S3, bucket: str) -> None:
    stream_id = await recorded(house, days_old=100)
    media, master = f"{stream_id}/source/0.ts", f"{stream_id}/master.m3u8"
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    # The one other class that the local store knows.
    async with S3Objects(place, public_read=True, cold_class="REDUCED_REDUNDANCY") as objects:
        for key in (media, master):
            await objects.put_bytes(key, b"media", SEGMENT)
        assert (await work(house, objects).round(NOW)).tally("cool") == Tally(1, 7)
        assert await objects.get_bytes(media, bytes_max=10) == b"media"
    client = s3.client()
    classes = {key: client.head_object(Bucket=bucket, Key=key).get("StorageClass") for key in (media, master)}
    assert classes == {media: "REDUCED_REDUNDANCY", master: None}


async def test_a_plan_counts_files_and_recordings_of_before(house: House) -> None:
    stream_id = await recorded(house, days_old=2_000)
    await house.pool.execute("update recordings set size_bytes = null")
    await house.pool.execute("insert into segments values ($1, 0, 1, 5, false), ($1, 1, 1, 6, false)", stream_id)
    await house.pool.execute("insert into recording_files values ($1, 'poster-1.jpg', 'poster', 100)", stream_id)
    (due_,) = await retention_store.list_due_to_delete(house.pool, TERMS, NOW, rows_max=10, held=False)
    assert due_.size_bytes == 111
