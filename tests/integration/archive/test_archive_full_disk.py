"""A full disk under the archive: nothing is lost or half there, everybody waits, and goes on when there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archive.errors import ProcessFailed
from archive.ladder.transcode import blame_a_full_disk
from archive.objects.keys import SEGMENT
from archive.shipping.rows import Shipments
from archive.shipping.shipper import ShipperPace
from archive.shipping.spool_room import SpoolLimits
from runtime.objects import ObjectKind, StoredObject, StoreUnavailable
from runtime.objects_disk import DiskObjects
from runtime.objects_disk_files import UNFINISHED
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk

DISK_BYTES = 8 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 8 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    # Lazily: a thread that nobody waits for any more may still have a file of it open.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Fill it to the last byte; the file that does it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return filler


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


class WatchedObjects(DiskObjects):
    """A store on a disk that remembers what it refused."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.refused: list[str] = []
        self.away = False

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        if self.away:
            raise StoreUnavailable(f"put {key}", "it is away")
        try:
            return await super().put_file(key, path, kind)
        except StoreUnavailable as error:
            self.refused.append(str(error))
            raise

    async def put_bytes(self, key: str, body: bytes, kind: ObjectKind) -> StoredObject:
        try:
            return await super().put_bytes(key, body, kind)
        except StoreUnavailable as error:
            self.refused.append(str(error))
            raise


async def test_a_put_on_a_full_disk_leaves_nothing_and_says_what_to_do(small_disk: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.ts"
    large.write_bytes(os.urandom(DISK_BYTES))
    async with DiskObjects(small_disk / "objects") as store:
        await store.put_bytes("one/0.ts", b"before", SEGMENT)
        with pytest.raises(StoreUnavailable) as refused:
            await store.put_file("one/1.ts", large, SEGMENT)
        assert f"the disk of {small_disk}/objects is full" in str(refused.value)
        assert "free space on it" in str(refused.value)
        filler = fill(small_disk)
        with pytest.raises(StoreUnavailable, match="is full"):
            await store.put_bytes("one/0.ts", b"x" * 5_000, SEGMENT)
        with pytest.raises(StoreUnavailable, match="is full"):
            await store.put_bytes("two/0.ts", b"x" * 5_000, SEGMENT)
        assert files_below(small_disk / "objects") == ["one/0.ts"]
        assert await store.get_bytes("one/0.ts", bytes_max=100) == b"before"
        filler.unlink()
        await store.put_bytes("two/0.ts", b"x" * 5_000, SEGMENT)
        assert list((small_disk / "objects" / UNFINISHED).iterdir()) == []


async def test_a_disk_that_fills_up_while_a_file_is_written_leaves_no_part(small_disk: Path) -> None:
    async with DiskObjects(small_disk / "objects") as store:

        def fill_up(file: object) -> None:
            fill(small_disk)
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            store._files.write("one/0.ts", fill_up)
        assert files_below(small_disk / "objects") == []


async def test_a_reader_whose_own_disk_is_full_is_told_which(small_disk: Path, tmp_path: Path) -> None:
    async with DiskObjects(tmp_path / "objects") as store:
        await store.put_bytes("one/0.ts", bytes(100_000), SEGMENT)
        fill(small_disk)
        with pytest.raises(StoreUnavailable, match=f"the disk of {small_disk} is full"):
            await store.get_file("one/0.ts", small_disk / "copy.ts")


async def test_the_archive_waits_for_room_and_loses_nothing(house: House, small_disk: Path, small_clip: Clip) -> None:
    async with WatchedObjects(small_disk / "objects") as objects:
        here = replace(house, objects=objects)
        stream_id = await here.started()
        disk = MediaServerDisk(here.hls, stream_id)
        filler = fill(small_disk)
        async with running(here.shipper(), here.finaliser(), here.planner(), here.completion()):
            for body, duration_ms in zip(small_clip.segments, small_clip.durations_ms, strict=True):
                disk.close(body, duration_ms)
            await here.ended(stream_id)

            async def refused_twice() -> bool:
                return len(objects.refused) >= 2

            await until(refused_twice)
            assert (await here.recording(stream_id)).status == "pending"
            # What the next try has begun to write goes again as soon as it is refused, too.
            await until(lambda: asyncio.to_thread(lambda: files_below(small_disk / "objects") == []))
            filler.unlink()
            await here.until_status(stream_id, "completed")
        keys = await here.pieces(f"{stream_id}/source/index.m3u8")
        assert [await objects.get_bytes(key, bytes_max=1 << 24) for key in keys] == list(small_clip.segments)


async def test_a_disk_that_is_full_for_the_playlists_publishes_later(
    house: House, small_disk: Path, small_clip: Clip
) -> None:
    async with WatchedObjects(small_disk / "objects") as objects:
        here = replace(house, objects=objects)
        stream_id = await here.started()
        disk = MediaServerDisk(here.hls, stream_id)
        for body, duration_ms in zip(small_clip.segments, small_clip.durations_ms, strict=True):
            disk.close(body, duration_ms)
        await here.ended(stream_id)
        async with running(here.shipper()):
            await here.until_shipped(stream_id, len(small_clip.segments))
        filler = fill(small_disk)
        async with running(here.shipper(), here.finaliser(), here.planner(), here.completion()):

            async def refused_often() -> bool:
                return len(objects.refused) >= 2

            await until(refused_often)
            assert (await here.recording(stream_id)).published_at is None
            assert not [said for said in await here.said() if said[0] == "recording.published"]
            filler.unlink()
            await here.until_status(stream_id, "completed")
        assert await here.pieces(f"{stream_id}/source/index.m3u8")


async def test_a_full_work_directory_gives_no_rendition_up(house: House, small_disk: Path, clip: Clip) -> None:
    here = replace(house, work=small_disk)
    stream_id = await here.started()
    disk = MediaServerDisk(here.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await here.ended(stream_id)
    async with running(here.shipper(), here.finaliser(), here.planner(), here.completion()):
        await here.until_status(stream_id, "processing")
        # The planner looks at the source there, too: what is planned is the worker's.
        await until(lambda: here.pool.fetchval("select count(*) > 0 from jobs"))
    filler = fill(small_disk)
    async with running(here.worker(attempts_max=1), here.planner(), here.completion()):

        async def failed_twice() -> bool:
            query = "select coalesce(max(fence), 0) as fence, max(attempts) as attempts from jobs"
            row = await here.pool.fetchrow(query)
            return row is not None and row["fence"] >= 3 and row["attempts"] <= 1

        await until(failed_twice)
        assert (await here.recording(stream_id)).status == "processing"
        filler.unlink()
        await here.until_status(stream_id, "completed")


async def test_a_full_disk_under_the_media_server_costs_the_oldest_segments_and_not_the_stream(
    house: House, small_disk: Path, small_clip: Clip, tmp_path: Path
) -> None:
    """The store is away and the disk for segments is small: the media server must be able to write all the same."""
    body = small_clip.segments[0]
    segments = 2 * DISK_BYTES // len(body)
    async with WatchedObjects(tmp_path / "objects") as objects:
        here = replace(house, objects=objects, hls=small_disk)
        stream_id = await here.started()
        disk = MediaServerDisk(here.hls, stream_id)
        objects.away = True
        pace = ShipperPace(poll_seconds=0.02, tidy_seconds=0.02)
        limits = SpoolLimits(reserve_bytes=4 << 20, spare_seconds=0.1)
        async with running(here.shipper(pace, limits)):
            for _ in range(segments):
                # A write that fails would raise here.
                disk.close(body, 2000)
                await asyncio.sleep(0.08)

            async def some_are_given_up() -> bool:
                return bool(await Shipments(here.pool).lost(stream_id))

            await until(some_are_given_up)
            objects.away = False
            await here.ended(stream_id)

            async def settled() -> bool:
                return await Shipments(here.pool).settled_among([stream_id]) == {stream_id}

            await until(settled)
        lost = {one.sequence for one in await Shipments(here.pool).lost(stream_id)}
        shipped = await Shipments(here.pool).shipped(stream_id)
    assert shipped | lost == set(range(segments))
    assert not shipped & lost
    assert len(shipped) >= segments // 5


def test_an_encoder_that_failed_on_a_full_disk_is_not_to_blame(small_disk: Path) -> None:
    failed = ProcessFailed("ffmpeg", 1, "Error writing trailer")
    blame_a_full_disk(small_disk, failed)
    fill(small_disk)
    with pytest.raises(StoreUnavailable, match=f"the disk of {small_disk} is full"):
        blame_a_full_disk(small_disk, failed)
