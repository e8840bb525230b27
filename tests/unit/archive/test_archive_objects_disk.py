"""The object store on a disk by itself: nothing leads out of it, leftovers go, the edge can read what is there."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.objects.keys import SEGMENT
from runtime.objects import InvalidKey, ObjectMissing, ObjectStoreError, StoreUnavailable
from runtime.objects_disk import DiskObjects
from runtime.objects_disk_files import LEFTOVER_SECONDS, PRIVATE, PUBLIC, UNFINISHED, Modes

SECRET = b"outside"
SEGMENTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "link", "loop", "file-link", "one", "0.ts", UNFINISHED, "~", "\0", "a\\b", "%2e%2e"]
    ),
    st.text(max_size=8),
)


def trap(root: Path) -> Path:
    """A store with links that lead out of it; the file that nobody may reach through them."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "0.ts").write_bytes(SECRET)
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "file-link").symlink_to(outside / "0.ts")
    (root / "one").mkdir()
    (root / "one" / "link").symlink_to("../../outside")
    return outside


def seen(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(parts=st.lists(SEGMENTS, min_size=1, max_size=4))
async def test_no_key_reads_or_writes_outside_of_the_root(parts: list[str]) -> None:
    key = "/".join(parts)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "objects"
        outside = trap(root)
        async with DiskObjects(root) as store:
            for attempt in (
                lambda: store.get_bytes(key, bytes_max=100),
                lambda: store.get_file(key, Path(directory) / "copy"),
            ):
                with pytest.raises(ObjectStoreError):
                    await attempt()
            try:
                assert await store.head(key) is None
                await store.put_bytes(key, b"new", SEGMENT)
                assert await store.get_bytes(key, bytes_max=3) == b"new"
                await store.delete(key)
            except (InvalidKey, StoreUnavailable):
                assert not (Path(directory) / "copy").exists()
            assert seen(outside) == {"0.ts": SECRET}
            assert names(Path(directory)) == {"objects", "outside"}


async def test_links_are_not_listed_and_not_followed(tmp_path: Path) -> None:
    outside = trap(tmp_path / "objects")
    async with DiskObjects(tmp_path / "objects") as store:
        assert [stored async for stored in store.list()] == []
        for key in ("file-link", "link/0.ts", "one/link/0.ts"):
            with pytest.raises(ObjectMissing):
                await store.get_bytes(key, bytes_max=100)
        for key in ("link/new.ts", "one/link/new.ts"):
            with pytest.raises(StoreUnavailable):
                await store.put_bytes(key, b"x", SEGMENT)
            await store.delete(key)
        await store.put_bytes("file-link", b"in its place", SEGMENT)
    assert seen(outside) == {"0.ts": SECRET}
    assert not (tmp_path / "objects" / "file-link").is_symlink()


async def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "objects").symlink_to("large-disk")
    async with DiskObjects(tmp_path / "objects") as store:
        await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    assert (tmp_path / "large-disk" / "one" / "0.ts").read_bytes() == b"abc"


async def test_pipes_and_foreign_names_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    os.mkfifo(tmp_path / "one" / "0.ts")
    (tmp_path / "my notes.txt").write_text("not ours")
    (tmp_path / ".hidden").write_text("not ours")
    async with DiskObjects(tmp_path) as store:
        assert [stored async for stored in store.list()] == []
        with pytest.raises(ObjectMissing):
            await store.get_bytes("one/0.ts", bytes_max=1)


async def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    async with DiskObjects(tmp_path) as store:
        old, young = tmp_path / UNFINISHED / "old", tmp_path / UNFINISHED / "young"
        for leftover in (old, young):
            leftover.write_bytes(b"half a segm")
        before = time.time() - LEFTOVER_SECONDS - 1
        os.utime(old, (before, before))
        assert [stored async for stored in store.list()] == []
        await store.check()
        assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize(("modes", "file", "folder"), [(PUBLIC, 0o644, 0o755), (PRIVATE, 0o600, 0o700)])
async def test_modes_do_not_depend_on_the_umask(tmp_path: Path, modes: Modes, file: int, folder: int) -> None:
    root = tmp_path / "a" / "objects"
    before = os.umask(0o077)
    try:
        async with DiskObjects(root, modes=modes) as store:
            await store.put_bytes("one/source/0.ts", b"abc", SEGMENT)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (root, root / "one", root / "one/source")} == {folder}
    assert (root / "one/source/0.ts").stat().st_mode & 0o777 == file


async def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    async with DiskObjects(tmp_path) as store:
        await store.put_bytes("one/0.ts", b"abc", SEGMENT)
        (tmp_path / "one" / "0.ts").unlink()
        (tmp_path / "one").rmdir()
        await store.put_bytes("one/1.ts", b"abc", SEGMENT)
        assert await store.head("one/1.ts") is not None


async def test_a_root_that_is_gone_is_an_outage_and_not_an_empty_store(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    async with DiskObjects(root) as store:
        await store.put_bytes("one/0.ts", b"abc", SEGMENT)
        root.rename(tmp_path / "unmounted")
        with pytest.raises(StoreUnavailable, match="is its disk mounted"):
            await store.head("one/0.ts")
        with pytest.raises(StoreUnavailable):
            await store.put_bytes("one/1.ts", b"abc", SEGMENT)
        with pytest.raises(StoreUnavailable):
            await store.check()
        assert not root.exists()


async def test_nothing_is_taken_below_the_reserve(tmp_path: Path) -> None:
    async with DiskObjects(tmp_path, reserve_bytes=1 << 60) as store:
        with pytest.raises(StoreUnavailable, match=r"is full: .* are kept for others; free space"):
            await store.put_bytes("one/0.ts", b"abc", SEGMENT)
        with pytest.raises(StoreUnavailable, match=str(tmp_path)):
            await store.check()
        assert await store.head("one/0.ts") is None
        assert list((tmp_path / UNFINISHED).iterdir()) == []
