"""Room for downloads: refused by name where there is none, and cleared of what dead workers left."""

import os
import time
from pathlib import Path

import pytest

from archive.downloads.room import UNLOCKED_SECONDS, clear_leftovers, download_room
from archive.errors import MediaRefused


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_download_has_a_directory_of_its_own_that_is_gone_afterwards(tmp_path: Path) -> None:
    async with download_room(tmp_path, 1) as first, download_room(tmp_path, 1) as second:
        assert first != second
        (first / "download.mp4").write_bytes(b"x")
        clear_leftovers(tmp_path)
        assert (first / "download.mp4").exists()
        assert second.exists()
    assert names(tmp_path) == []


async def test_what_a_dead_worker_left_is_cleared_before_the_next_download(tmp_path: Path) -> None:
    left, fresh, foreign = tmp_path / "download-left", tmp_path / "download-fresh", tmp_path / "chunk-1"
    for directory in (left, fresh, foreign):
        directory.mkdir()
    # A lock that nobody holds is a dead worker's; without one it may be about to get one.
    (left / ".lock").write_bytes(b"")
    async with download_room(tmp_path, 1):
        assert not left.exists()
        assert fresh.exists()
    long_ago = time.time() - UNLOCKED_SECONDS - 1
    os.utime(fresh, (long_ago, long_ago))
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["chunk-1"]


async def test_a_download_that_has_no_room_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(
        MediaRefused, match=rf"takes {(1 << 60) + (256 << 20)} bytes .*archive_work_directory.* are free"
    ):
        async with download_room(tmp_path, 1 << 60):
            pass
    assert names(tmp_path) == []
