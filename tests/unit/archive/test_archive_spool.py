"""What the shipper knows of a directory, and how room is made: no store, no database."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from archive.shipping.spool import Copies, Seen, Spool
from archive.shipping.spool_room import REASON, SpoolLimits, SpoolRoom, remove_copies
from archive.shipping.turns import Turns
from tests.integration.archive.media_server import MediaServerDisk

STREAM = "01890000-0000-7000-8000-0000000000aa"
BODY = b"x" * 1_000


@pytest.fixture
def disk(tmp_path: Path) -> MediaServerDisk:
    return MediaServerDisk(tmp_path, STREAM, window_segments=5)


def close(disk: MediaServerDisk, segments: int) -> None:
    for _ in range(segments):
        disk.close(BODY, 2000)


def look(spool: Spool) -> list[int]:
    """Look and note; the numbers that have no file."""
    seen = spool.look()
    return [] if seen is None else spool.take(seen)


def test_closed_segments_wait_with_what_the_playlist_told(disk: MediaServerDisk) -> None:
    spool = Spool(disk.directory)
    assert spool.look() is None
    close(disk, 3)
    disk.begin(BODY)
    assert look(spool) == []
    assert list(spool.waiting) == [0, 1, 2]
    assert spool.bytes_here == 3_000
    assert [waiting.told and waiting.told.duration_ms for waiting in spool.waiting.values()] == [2000] * 3
    assert spool.look() is None
    assert list(spool.unclosed(spool.files())) == [3]


def test_what_left_the_window_waits_untold_and_what_has_no_file_is_gone(disk: MediaServerDisk) -> None:
    close(disk, 8)
    (disk.directory / "1.ts").unlink()
    spool = Spool(disk.directory)
    assert look(spool) == [1]
    assert [number for number, waiting in spool.waiting.items() if waiting.told is None] == [0, 2]


def test_holes_are_numbers_of_which_there_was_never_anything(disk: MediaServerDisk) -> None:
    close(disk, 2)
    spool = Spool(disk.directory)
    look(spool)
    (disk.directory / "5.ts").write_bytes(BODY)
    spool.close(spool.unclosed(spool.files()))
    assert list(spool.waiting) == [0, 1, 5]
    assert spool.holes() == [2, 3, 4]


def test_a_process_goes_on_where_another_stopped(disk: MediaServerDisk) -> None:
    close(disk, 6)
    (disk.directory / "3.ts").unlink()
    spool = Spool(disk.directory)
    spool.begin(spool.files(), shipped={0, 1, 4}, lost={2, 3})
    assert look(spool) == []
    # 2 was given up and is here after all.
    assert sorted(spool.waiting) == [2, 5]
    assert spool.lost == {3}
    assert spool.bytes_here == 5_000
    for number in (2, 5):
        spool.note_shipped(number)
    assert spool.copies(over=True) == Copies(disk.directory, 0, 6)
    assert spool.copies(over=False).limit == 1


def test_memory_follows_what_is_not_shipped_and_not_the_length(disk: MediaServerDisk) -> None:
    spool = Spool(disk.directory)
    for _ in range(500):
        disk.close(b"", 2000)
        look(spool)
        for number in list(spool.waiting):
            spool.note_shipped(number)
    assert spool.shipped_segments == 500
    sizes = [len(value) for name, value in vars(spool).items() if isinstance(value, set | dict | list)]
    assert sizes
    assert max(sizes) == 0


def test_a_broken_playlist_is_told_once_and_costs_nothing(disk: MediaServerDisk) -> None:
    close(disk, 1)
    spool = Spool(disk.directory)
    look(spool)
    (disk.directory / "index.m3u8").write_text("#EXTM3U\n#EXTINF:2.000,\n../../secret\n")
    seen = spool.look()
    assert isinstance(seen, Seen)
    assert seen.failure is not None
    spool.take(seen)
    assert spool.look() is None
    assert list(spool.waiting) == [0]


def test_copies_go_oldest_first_over_all_streams(tmp_path: Path) -> None:
    copies = []
    for place, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for number in range(4):
            path = tmp_path / name / f"{number}.ts"
            path.write_bytes(BODY)
            os.utime(path, (1_000 + number * 10 + place, 1_000 + number * 10 + place))
        copies.append(Copies(tmp_path / name, 0, 3))
    removed = remove_copies(copies, written_before=None, bytes_max=3_000)
    assert removed == [(2, 2_000), (1, 1_000)]
    removed = remove_copies(copies, written_before=1_012, bytes_max=None)
    assert removed == [(2, 0), (2, 1_000)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["2.ts", "3.ts"]
    # What playlists name is beyond the limit, however much is wanted.
    remove_copies(copies, written_before=None, bytes_max=1e9)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["3.ts"]


class Stream:
    """Follows nothing; remembers what was given up."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.lost: list[tuple[int, str]] = []

    def lose(self, number: int, reason: str, *, file_is_here: bool) -> None:
        self.spool.note_lost(number, file_is_here=file_is_here)
        self.lost.append((number, reason))


async def test_young_segments_are_spared_and_old_ones_given_up_at_the_bound(
    disk: MediaServerDisk, tmp_path: Path
) -> None:
    close(disk, 20)
    long_ago = time.time() - 100
    for number in range(8):
        os.utime(disk.directory / f"{number}.ts", (long_ago + number, long_ago + number))
    stream = Stream(Spool(disk.directory))
    look(stream.spool)
    room = SpoolRoom(tmp_path, SpoolLimits(bytes_max=10_000))
    await room.tidy([stream], [])
    assert stream.lost == [(number, REASON) for number in range(8)]
    assert stream.spool.bytes_here == 12_000
    with pytest.raises(OSError, match="not taken fill"):
        room.check()
    for number in range(8, 20):
        stream.spool.note_shipped(number)
    await room.tidy([stream], [])
    room.check()
    assert sorted(int(path.stem) for path in disk.directory.glob("*.ts"))[-5:] == [15, 16, 17, 18, 19]


class WatchedSpool(Spool):
    """Remembers what was being given up whenever a file was asked for."""

    def path(self, sequence: int) -> Path:
        if sequence in self.giving_up:
            self.seen.add(sequence)
        return super().path(sequence)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.seen: set[int] = set()


async def test_whoever_misses_a_file_that_is_given_up_can_tell_why(disk: MediaServerDisk, tmp_path: Path) -> None:
    close(disk, 20)
    spool = WatchedSpool(disk.directory)
    stream = Stream(spool)
    look(spool)
    await SpoolRoom(tmp_path, SpoolLimits(bytes_max=10_000, spare_seconds=-1.0)).tidy([stream], [])
    assert spool.seen == {number for number, _ in stream.lost}
    assert spool.giving_up == set()


async def test_files_that_others_removed_do_not_cost_segments(disk: MediaServerDisk, tmp_path: Path) -> None:
    close(disk, 20)
    stream = Stream(Spool(disk.directory))
    look(stream.spool)
    for number in range(15):
        stream.spool.note_shipped(number)
        (disk.directory / f"{number}.ts").unlink()
    await SpoolRoom(tmp_path, SpoolLimits(bytes_max=10_000, spare_seconds=0.0)).tidy([stream], [])
    assert stream.lost == []
    assert stream.spool.bytes_here == 5_000


async def test_the_disks_reserve_is_a_bound_too(disk: MediaServerDisk, tmp_path: Path) -> None:
    close(disk, 20)
    stream = Stream(Spool(disk.directory))
    look(stream.spool)
    # No disk has that much left.
    await SpoolRoom(tmp_path, SpoolLimits(reserve_bytes=1 << 60, spare_seconds=-1.0)).tidy([stream], [])
    assert len(stream.lost) == 20


async def test_places_go_round_those_who_wait() -> None:
    turns, order = Turns(1), []

    async def take(who: str) -> None:
        async with turns.turn(who):
            order.append(who)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for who in ("many", "many", "many", "many", "one", "other"):
            tasks.create_task(take(who))
    assert order == ["many", "many", "one", "other", "many", "many"]


async def test_who_is_cancelled_while_waiting_costs_no_place() -> None:
    turns = Turns(1)
    async with turns.turn("holder"):
        waiting = [asyncio.create_task(turns._take(who)) for who in ("a", "b")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting[1], timeout=10)
    turns._give_back()
    async with turns.turn("holder"):
        granted = asyncio.create_task(turns._take("a"))
        await asyncio.sleep(0)
    # It has the place, and does not know it yet.
    granted.cancel()
    await asyncio.wait([granted])
    async with asyncio.timeout(10), turns.turn("later"):
        pass
