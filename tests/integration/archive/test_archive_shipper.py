"""The shipper with a real database and a store on a disk: what is lost is written down, what turns up is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import pytest

from archive.shipping.rows import LostSegment, Shipments
from archive.shipping.shipper import Shipper, ShipperPace
from archive.shipping.spool_room import REASON, SpoolLimits
from runtime.monthly_partitions import MONTHS_AHEAD
from runtime.objects import ObjectKind, StoredObject, StoreUnavailable
from runtime.objects_disk import DiskObjects
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk

BODY = os.urandom(10_000)


class MoodyObjects(DiskObjects):
    """A store on a disk that is away when told so, and that counts and remembers what it was sent."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.damaging: set[str] = set()
        self.refused = 0
        self.order: list[str] = []
        self.at_once = self.at_once_most = 0

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        self.at_once += 1
        self.at_once_most = max(self.at_once, self.at_once_most)
        try:
            await self.answers.wait()
            if self.away:
                self.refused += 1
                raise StoreUnavailable(f"put {key}", "it is away")
            if key in self.damaging:
                self.damaging.discard(key)
                return await super().put_bytes(key, b"damaged", kind)
            stored = await super().put_file(key, path, kind)
        finally:
            self.at_once -= 1
        self.order.append(key)
        return stored


@asynccontextmanager
async def moody(house: House, tmp_path: Path) -> AsyncIterator[tuple[House, MoodyObjects]]:
    async with MoodyObjects(tmp_path / "objects") as objects:
        yield House(house.pool, objects, house.hls, house.work), objects


async def lost(house: House, stream_id: UUID) -> list[LostSegment]:
    return await Shipments(house.pool).lost(stream_id)


async def until_settled(house: House, *stream_ids: UUID) -> None:
    async def settled() -> bool:
        return await Shipments(house.pool).settled_among(stream_ids) == set(stream_ids)

    await until(settled)


async def until_waiting(shipper: Shipper, stream_id: UUID, number: int) -> None:
    """Until the shipper has seen that a segment is closed, which the store does not take."""

    async def seen() -> bool:
        follower = shipper._followers.get(stream_id)
        return follower is not None and number in follower.spool.waiting

    await until(seen)


async def until_lost(house: House, stream_id: UUID, numbers: Sequence[int]) -> None:
    async def reached() -> bool:
        return [segment.sequence for segment in await lost(house, stream_id)] == list(numbers)

    await until(reached)


async def test_every_table_with_recordings_has_its_months(house: House) -> None:
    parents = await house.pool.fetch(
        "select c.relname from pg_partitioned_table p join pg_class c on c.oid = p.partrelid"
        " where c.relnamespace = 'archive'::regnamespace and c.relname not in ('outbox', 'inbox')"
    )
    assert "lost_segments" in {row["relname"] for row in parents}
    for row in parents:
        months = await house.pool.fetch(
            "select from pg_inherits where inhparent = ('archive.' || $1)::regclass", row["relname"]
        )
        assert len(months) >= 2 + MONTHS_AHEAD - 1, row["relname"]


async def test_a_number_that_was_never_written_is_a_lost_segment(house: House) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for _ in range(4):
        disk.close(BODY, 2000)
    (disk.directory / "2.ts").unlink()
    async with running(house.shipper()):
        await until_lost(house, stream_id, [2])
        # It may have been left by a media server that died in a place that we had not seen.
        (disk.directory / "6.ts").write_bytes(b"no media")
        await house.ended(stream_id)
        await until_settled(house, stream_id)
    assert [(one.sequence, one.duration_ms) for one in await lost(house, stream_id)] == [
        (2, None),
        (4, None),
        (5, None),
        (6, None),
    ]
    assert (await lost(house, stream_id))[0].reason == "the file is gone"
    assert (await lost(house, stream_id))[1].reason == "it was never written"


async def test_a_lost_segment_that_turns_up_is_shipped_and_not_lost(house: House) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for _ in range(3):
        disk.close(BODY, 2000)
    hidden = (disk.directory / "1.ts").rename(house.hls / "hidden.ts")
    async with running(house.shipper()):
        await until_lost(house, stream_id, [1])
        hidden.rename(disk.directory / "1.ts")
        # Nobody has its line in the playlist any more, so it is measured; this one cannot be.
    async with running(house.shipper()):
        await house.until_shipped(stream_id, 3)
        assert await lost(house, stream_id) == []
        await house.ended(stream_id)
        await until_settled(house, stream_id)
    assert await lost(house, stream_id) == []


@pytest.mark.parametrize("kind", ["empty", "link", "pipe"])
async def test_what_is_no_segment_is_given_up_and_the_rest_goes_on(house: House, kind: str, tmp_path: Path) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    path = disk.directory / "0.ts"
    disk.close(BODY, 2000)
    path.unlink()
    match kind:
        case "empty":
            path.touch()
        case "link":
            path.symlink_to(secret)
        case "pipe":
            os.mkfifo(path)
    disk.close(BODY, 2000)
    async with running(house.shipper()):
        await house.until_shipped(stream_id, 1)
        await until_lost(house, stream_id, [0])
        await house.ended(stream_id)
        await until_settled(house, stream_id)
    (given_up,) = await lost(house, stream_id)
    assert given_up.reason == ("it is empty" if kind == "empty" else "it is no regular file")
    assert given_up.duration_ms == 2000
    assert await house.objects.head(f"{stream_id}/source/0.ts") is None


async def test_an_object_that_is_damaged_on_its_way_is_sent_again(house: House, tmp_path: Path) -> None:
    async with moody(house, tmp_path) as (here, objects):
        stream_id = await here.started()
        objects.damaging = {f"{stream_id}/source/0.ts"}
        MediaServerDisk(here.hls, stream_id).close(BODY, 2000)
        async with running(here.shipper()):
            await here.until_shipped(stream_id, 1)
        assert await objects.get_bytes(f"{stream_id}/source/0.ts", bytes_max=1 << 20) == BODY


@pytest.mark.parametrize("mood", ["dead", "frozen"])
async def test_durations_are_read_while_the_store_is_away(house: House, mood: str, tmp_path: Path) -> None:
    """The window moves on meanwhile, and these segments cannot be measured: only the playlist tells."""
    async with moody(house, tmp_path) as (here, objects):
        stream_id = await here.started()
        disk = MediaServerDisk(here.hls, stream_id, window_segments=3)
        shipper = here.shipper(ShipperPace(poll_seconds=0.03))
        async with running(shipper):
            disk.close(BODY, 1000)
            await here.until_shipped(stream_id, 1)
            if mood == "dead":
                objects.away = True
            else:
                objects.answers.clear()
            for number in range(1, 12):
                disk.close(BODY, 1000 + number)
                await until_waiting(shipper, stream_id, number)
            if mood == "dead":
                await until(lambda: asyncio.sleep(0, objects.refused > 0))
            assert await here.recordings.shipped(stream_id) == {0}
            objects.away = False
            objects.answers.set()
            await here.until_shipped(stream_id, 12)
        rows = await here.pool.fetch("select duration_ms from segments order by sequence")
        assert [row["duration_ms"] for row in rows] == [1000 + number for number in range(12)]
        assert objects.at_once_most <= 3


async def test_a_stream_with_a_backlog_does_not_hold_up_the_others(house: House, tmp_path: Path) -> None:
    async with moody(house, tmp_path) as (here, objects):
        backlog, other = await here.started(), await here.started()
        disk = MediaServerDisk(here.hls, backlog, window_segments=200)
        for _ in range(200):
            disk.close(BODY, 2000)
        MediaServerDisk(here.hls, other).close(BODY, 2000)
        objects.answers.clear()
        shipper = here.shipper(ShipperPace(poll_seconds=0.05, uploads_at_once=2))
        async with running(shipper):
            # Both have come before anything is taken: who was seen first is not what this is about.
            await until_waiting(shipper, backlog, 199)
            await until_waiting(shipper, other, 0)
            objects.answers.set()
            await here.until_shipped(backlog, 200)
            await here.until_shipped(other, 1)
        assert objects.order.index(f"{other}/source/0.ts") < 20


async def test_copies_that_the_store_has_go_while_the_stream_runs(house: House, small_clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id, window_segments=5)
    pace = ShipperPace(poll_seconds=0.05, tidy_seconds=0.05)
    async with running(house.shipper(pace, SpoolLimits(keep_seconds=0.0))):
        for _ in range(20):
            disk.close(small_clip.segments[0], 2000)
        await house.until_shipped(stream_id, 20)

        async def only_the_window_is_left() -> bool:
            return sorted(int(path.stem) for path in disk.directory.glob("*.ts")) == [15, 16, 17, 18, 19]

        await until(only_the_window_is_left)
        await house.ended(stream_id)
        await until_settled(house, stream_id)
    assert await lost(house, stream_id) == []
    assert await house.pool.fetchval("select segments_expected from recordings") == 20


async def test_a_file_that_is_missed_while_it_is_given_up_has_that_reason(house: House, tmp_path: Path) -> None:
    async with moody(house, tmp_path) as (here, objects):
        stream_id = await here.started()
        disk = MediaServerDisk(here.hls, stream_id)
        disk.close(BODY, 2000)
        objects.away = True
        shipper = here.shipper()
        async with running(shipper):
            await until_waiting(shipper, stream_id, 0)
            # As the one who keeps room does; he is not back from the disk yet.
            shipper._followers[stream_id].spool.giving_up.add(0)
            (disk.directory / "0.ts").unlink()
            await until_lost(here, stream_id, [0])
        assert [one.reason for one in await lost(here, stream_id)] == [REASON]


class UnsweptShipments(Shipments):
    """Rows in a Postgres that never answers which recordings play."""

    async def played_for(self, keep_seconds: float, stream_ids: Sequence[UUID]) -> list[UUID]:
        await asyncio.Event().wait()
        return []


async def test_room_is_kept_while_the_sweep_waits_for_postgres(house: House, small_clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id, window_segments=1)
    pace, limits = ShipperPace(poll_seconds=0.05, tidy_seconds=0.05), SpoolLimits(keep_seconds=0.0)
    shipper = Shipper(house.hls, UnsweptShipments(house.pool), house.objects, house.runner, pace, limits)
    async with running(shipper):
        for _ in range(2):
            disk.close(small_clip.segments[0], 2000)

        async def the_copy_is_gone() -> bool:
            return [path.name for path in disk.directory.glob("*.ts")] == ["1.ts"]

        await until(the_copy_is_gone)


async def test_a_spool_that_fills_up_gives_up_the_oldest_and_recovers_by_itself(
    house: House, small_clip: Clip, tmp_path: Path
) -> None:
    """The store is away for longer than the disk holds; a stream whose segments it has loses its copies first."""
    body = small_clip.segments[0]
    limits = SpoolLimits(bytes_max=20 * len(body), keep_seconds=3_600, spare_seconds=0.2)
    pace = ShipperPace(poll_seconds=0.02, tidy_seconds=0.05)
    async with moody(house, tmp_path) as (here, objects):
        safe, stream_id = await here.started(), await here.started()
        shipper = here.shipper(pace, limits)
        async with running(shipper):
            early = MediaServerDisk(here.hls, safe, window_segments=2)
            for _ in range(10):
                early.close(body, 2000)
            await here.until_shipped(safe, 10)
            # The rows are there a moment before the shipper knows it, and knows which files are copies.
            await until(lambda: asyncio.sleep(0, shipper._followers[safe].spool.shipped_segments == 10))
            shipper.room.check()
            objects.away = True
            disk = MediaServerDisk(here.hls, stream_id, window_segments=3)
            for number in range(60):
                disk.close(body, 2000)
                await asyncio.sleep(0.05)
                if number == 12:
                    # Only copies were in the way so far.
                    assert await lost(here, stream_id) == []
            await until_over_bound(here, stream_id)
            with pytest.raises(OSError, match="not taken fill their disk"):
                shipper.room.check()
            assert len(list(early.directory.glob("*.ts"))) < 10
            await until(lambda: asyncio.to_thread(lambda: bytes_below(here.hls) <= limits.bytes_max * 1.3))
            objects.away = False

            async def ready() -> bool:
                try:
                    shipper.room.check()
                except OSError:
                    return False
                return True

            await until(ready)
            await here.ended(stream_id)
            await here.ended(safe)
            await until_settled(here, stream_id, safe)
        given_up = await lost(here, stream_id)
        shipped = await here.recordings.shipped(stream_id)
    assert shipped | {one.sequence for one in given_up} == set(range(60))
    assert not shipped & {one.sequence for one in given_up}
    assert {one.reason for one in given_up} == {REASON}
    assert {one.duration_ms for one in given_up} <= {2000, None}
    # The oldest went, except those that were on their way.
    assert sorted(one.sequence for one in given_up)[-1] < max(shipped)
    assert await lost(here, safe) == []


def bytes_below(root: Path) -> int:
    """What lies there now; others may remove it meanwhile."""
    sizes = 0
    for path in root.rglob("*.ts"):
        with suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes


async def until_over_bound(house: House, stream_id: UUID) -> None:
    async def reached() -> bool:
        return len(await lost(house, stream_id)) >= 20

    await until(reached)


async def test_a_media_server_killed_in_a_segment_costs_that_one(house: House, clip: Clip) -> None:
    """The half of it that is on the disk is media, and kept."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    async with running(house.shipper()):
        for body, duration_ms in zip(clip.segments[:2], clip.durations_ms[:2], strict=True):
            disk.close(body, duration_ms)
        disk.begin(clip.segments[2])
        await house.until_shipped(stream_id, 2)
        await house.ended(stream_id)
        await until_settled(house, stream_id)
    rows = await house.pool.fetch("select sequence, size_bytes, duration_ms from segments order by sequence")
    assert [row["sequence"] for row in rows] == [0, 1, 2]
    assert rows[2]["size_bytes"] == len(clip.segments[2]) // 2
    assert 500 < rows[2]["duration_ms"] < 2000
    assert await lost(house, stream_id) == []
