"""One suite over every object store: what the archive relies on holds on S3 and on a disk alike."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path

import pytest
from pydantic import SecretStr

from archive.objects.keys import JPEG, MP4, PLAYLIST, SEGMENT, VTT, kind_of
from runtime.objects import EVERYTHING, InvalidKey, ObjectMissing, ObjectStore, ObjectTooLarge, StoredObject
from runtime.objects_disk import DiskObjects
from runtime.objects_s3 import PARTS_ABOVE_BYTES, S3Objects, S3Place


@pytest.fixture(params=["disk", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "disk":
        async with DiskObjects(tmp_path / "objects") as disk:
            yield disk
        return
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    async with S3Objects(place, public_read=True) as objects:
        yield objects


async def listed(store: ObjectStore, prefix: str = EVERYTHING) -> list[StoredObject]:
    return [stored async for stored in store.list(prefix)]


async def test_what_was_put_comes_back(store: ObjectStore) -> None:
    await store.put_bytes("one/source/0.ts", b"abc", SEGMENT)
    assert await store.get_bytes("one/source/0.ts", bytes_max=3) == b"abc"
    assert await store.head("one/source/0.ts") == StoredObject("one/source/0.ts", 3)


async def test_files_go_in_and_out(store: ObjectStore, tmp_path: Path) -> None:
    original, copy = tmp_path / "in.ts", tmp_path / "out.ts"
    original.write_bytes(bytes(range(256)) * 8_192)
    copy.write_bytes(b"something longer was here before" * 100_000)
    await store.put_file("one/0.ts", original, SEGMENT)
    assert await store.get_file("one/0.ts", copy) == original.stat().st_size
    assert copy.read_bytes() == original.read_bytes()


async def test_a_put_answers_what_the_store_has(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "in.ts"
    path.write_bytes(b"from a file")
    for acknowledged, body in (
        (await store.put_bytes("one/0.ts", b"abc", SEGMENT), b"abc"),
        (await store.put_file("one/0.ts", path, SEGMENT), b"from a file"),
    ):
        assert acknowledged == StoredObject("one/0.ts", len(body))
        assert acknowledged.md5 in (None, md5(body, usedforsecurity=False).hexdigest())
    stored = await store.head("one/0.ts")
    assert stored is not None and stored.version == acknowledged.version


async def test_a_large_file_goes_up_whole(store: ObjectStore, tmp_path: Path) -> None:
    large, back = tmp_path / "in.mp4", tmp_path / "out.mp4"
    size_bytes = PARTS_ABOVE_BYTES + 1_234_567
    with large.open("wb") as file:
        file.write(os.urandom(1 << 20) * (size_bytes >> 20))
        file.truncate(size_bytes)
    assert await store.put_file("one/large.mp4", large, MP4) == StoredObject("one/large.mp4", size_bytes)
    copied = await store.copy("one/large.mp4", "two/large.mp4", MP4)
    assert copied == await store.head("two/large.mp4") == StoredObject("two/large.mp4", size_bytes)
    assert await store.get_file("two/large.mp4", back) == size_bytes
    assert back.read_bytes() == large.read_bytes()


async def test_a_copy_is_an_object_of_its_own(store: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    await store.put_bytes("one/0.ts", b"first", SEGMENT)
    await store.put_bytes("two/0.ts", b"was here before", SEGMENT)
    assert await store.copy("one/0.ts", "two/0.ts", SEGMENT) == StoredObject("two/0.ts", 5)
    copied = await store.head("two/0.ts")
    assert copied is not None and copied.modified_at is not None and copied.modified_at > before
    await store.put_bytes("one/0.ts", b"second", SEGMENT)
    assert await store.get_bytes("two/0.ts", bytes_max=100) == b"first"
    await store.delete("one/0.ts")
    assert await store.get_bytes("two/0.ts", bytes_max=100) == b"first"
    # Again, and onto itself: nothing changes.
    await store.copy("two/0.ts", "two/1.ts", SEGMENT)
    await store.copy("two/0.ts", "two/1.ts", SEGMENT)
    assert await listed(store) == [StoredObject("two/0.ts", 5), StoredObject("two/1.ts", 5)]


async def test_what_is_not_there_can_be_neither_copied_nor_cooled(store: ObjectStore) -> None:
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    for key in ("one/1.ts", "two/0.ts", "one"):
        with pytest.raises(ObjectMissing):
            await store.copy(key, "three/0.ts", SEGMENT)
        with pytest.raises(ObjectMissing):
            await store.cool(key)
    assert await listed(store) == [StoredObject("one/0.ts", 3)]


async def test_a_store_without_a_colder_class_cools_nothing(store: ObjectStore) -> None:
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    assert not await store.cool("one/0.ts")
    assert await store.get_bytes("one/0.ts", bytes_max=3) == b"abc"


async def test_it_is_told_since_when_an_object_is_there(store: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    stored = await store.head("one/0.ts")
    assert stored is not None and stored.modified_at is not None
    assert before < stored.modified_at < datetime.now(UTC) + timedelta(seconds=2)
    # Heads of S3 tell whole seconds, listings more.
    (entry,) = await listed(store)
    assert entry.modified_at is not None
    assert abs(entry.modified_at - stored.modified_at) < timedelta(seconds=1)


async def test_a_sweep_of_a_store_with_nothing_unfinished_removes_nothing(store: ObjectStore) -> None:
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    for dry_run in (True, False):
        assert await store.sweep_unfinished(timedelta(0), dry_run=dry_run) == 0
    assert await listed(store) == [StoredObject("one/0.ts", 3)]


def test_the_ending_of_a_key_tells_its_kind() -> None:
    kinds = [kind_of(f"one/{name}") for name in ("0.ts", "index.m3u8", "poster-1.jpg", "en-2.vtt", "download-1.mp4")]
    assert kinds == [SEGMENT, PLAYLIST, JPEG, VTT, MP4]


async def test_a_second_put_replaces_the_first(store: ObjectStore) -> None:
    await store.put_bytes("one/master.m3u8", b"first", PLAYLIST)
    await store.put_bytes("one/master.m3u8", b"2nd", PLAYLIST)
    assert await store.get_bytes("one/master.m3u8", bytes_max=100) == b"2nd"


async def test_what_is_not_there_is_missing(store: ObjectStore, tmp_path: Path) -> None:
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    for key in ("one/1.ts", "two/0.ts", "one", "one/0.ts/more"):
        assert await store.head(key) is None
        with pytest.raises(ObjectMissing):
            await store.get_bytes(key, bytes_max=10)
        with pytest.raises(ObjectMissing):
            await store.get_file(key, tmp_path / "out")


async def test_a_reader_is_not_given_more_than_it_takes(store: ObjectStore) -> None:
    await store.put_bytes("one/0.ts", b"abcd", SEGMENT)
    with pytest.raises(ObjectTooLarge):
        await store.get_bytes("one/0.ts", bytes_max=3)


async def test_a_listing_has_every_object_below_a_folder_in_order(store: ObjectStore) -> None:
    keys = [f"one/source/{number}.ts" for number in (0, 1, 10, 2)]
    for key in [*keys, "one/master.m3u8", "one0/source/0.ts", "two/source/0.ts"]:
        await store.put_bytes(key, key.encode(), SEGMENT)
    assert await listed(store, "one/source/") == [StoredObject(key, len(key)) for key in keys]
    assert [stored.key for stored in await listed(store, "one/")] == ["one/master.m3u8", *keys]
    assert await listed(store, "none/") == []


@pytest.mark.parametrize(
    ("prefix", "after", "first"),
    [
        (EVERYTHING, "", 0),
        (EVERYTHING, "one/source/0.ts", 2),
        (EVERYTHING, "one/source/00", 2),
        (EVERYTHING, "one/~", 4),
        (EVERYTHING, "two/source/0.ts", 6),
        ("one/", "one/source/1.ts", 3),
        ("one/", "two/", 6),
        ("two/", "one/source/1.ts", 5),
    ],
)
async def test_a_listing_begins_behind_what_it_is_told(store: ObjectStore, prefix: str, after: str, first: int) -> None:
    keys = ["one/master.m3u8", *(f"one/source/{name}.ts" for name in ("0", "1", "10")), "one0/0.ts", "two/source/0.ts"]
    for key in keys:
        await store.put_bytes(key, b"x", SEGMENT)
    expected = [key for key in keys[first:] if key.startswith(prefix)]
    assert [one.key async for one in store.list(prefix, after=after)] == expected


async def test_everything_is_listed_in_the_order_of_whole_keys(store: ObjectStore) -> None:
    keys = ["a-b/0.ts", "a.ts", "a/0.ts", "a/b-c.ts", "a/b/c.ts", "a0/0.ts", "master.m3u8"]
    for key in reversed(keys):
        await store.put_bytes(key, key.encode(), SEGMENT)
    assert [stored.key for stored in await listed(store)] == keys
    assert keys == sorted(keys)


async def test_a_version_changes_with_every_put_and_is_the_same_in_a_listing(store: ObjectStore) -> None:
    versions = []
    for body in (b"one", b"two"):
        await store.put_bytes("one/master.m3u8", body, PLAYLIST)
        stored = await store.head("one/master.m3u8")
        assert stored is not None and stored.version is not None
        assert [entry.version for entry in await listed(store)] == [stored.version]
        assert stored.md5 in (None, md5(body, usedforsecurity=False).hexdigest())
        versions.append(stored.version)
    assert versions[0] != versions[1]


async def test_readers_see_the_old_object_or_the_new_one_and_never_a_part(store: ObjectStore) -> None:
    bodies = [bytes([number]) * (200_000 + number) for number in range(8)]
    await store.put_bytes("one/0.ts", bodies[0], SEGMENT)

    async def write() -> None:
        for body in bodies:
            await store.put_bytes("one/0.ts", body, SEGMENT)

    writing = asyncio.create_task(write())
    while not writing.done():
        assert await store.get_bytes("one/0.ts", bytes_max=1 << 20) in bodies
    await writing
    assert await listed(store) == [StoredObject("one/0.ts", len(bodies[-1]))]


async def test_many_may_put_into_a_new_folder_at_once(store: ObjectStore) -> None:
    keys = [f"one/source/{number}.ts" for number in range(20)]
    await asyncio.gather(*(store.put_bytes(key, key.encode(), SEGMENT) for key in keys))
    assert [stored.key for stored in await listed(store)] == sorted(keys)


async def test_a_listing_is_complete_beyond_one_page(store: ObjectStore) -> None:
    for number in range(1_010):
        await store.put_bytes(f"one/{number:04}.ts", b"x", SEGMENT)
    assert len(await listed(store, "one/")) == 1_010


async def test_sizes_are_told_of_what_is_there(store: ObjectStore) -> None:
    keys = [f"one/source/{number}.ts" for number in range(1_203)]
    await asyncio.gather(*(store.put_bytes(key, bytes(1 + number % 7), SEGMENT) for number, key in enumerate(keys)))
    # Others beside them, of which nobody asks: a playlist, a folder, a folder whose name begins the same.
    for key in ("one/source/index.m3u8", "one/source/more/0.ts", "one/source-2/0.ts", "one/source/00.ts"):
        await store.put_bytes(key, b"other", SEGMENT)
    for gone in (keys[0], keys[500], keys[-1]):
        await store.delete(gone)
    wanted = {key: 1 + number % 7 for number, key in enumerate(keys) if number not in (0, 500, 1_202)}
    assert await store.sizes(keys) == wanted
    assert await store.sizes(keys[100:102]) == {keys[100]: 3, keys[101]: 4}
    assert await store.sizes(["two/source/0.ts"]) == {}
    assert await store.sizes([]) == {}
    with pytest.raises(ValueError, match="not in one folder"):
        await store.sizes(["one/source/0.ts", "two/source/0.ts"])
    with pytest.raises(InvalidKey):
        await store.sizes(["one/../two/0.ts"])


async def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    await store.put_bytes("one/0.ts", b"abc", SEGMENT)
    await store.delete("one/0.ts")
    await store.delete("one/0.ts")
    assert await store.head("one/0.ts") is None
    assert await listed(store, "one/") == []


@pytest.mark.parametrize(
    "key",
    ["../outside", "one/../../outside", "/etc/passwd", "one//0.ts", "one/./0.ts", "", ".hidden", "a b", "é", "x" * 513],
)
async def test_a_key_outside_the_alphabet_is_refused_everywhere(store: ObjectStore, key: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidKey):
        await store.put_bytes(key, b"x", SEGMENT)
    with pytest.raises(InvalidKey):
        await store.put_file(key, tmp_path / "x", SEGMENT)
    with pytest.raises(InvalidKey):
        await store.get_bytes(key, bytes_max=1)
    with pytest.raises(InvalidKey):
        await store.get_file(key, tmp_path / "x")
    with pytest.raises(InvalidKey):
        await store.copy(key, "one/0.ts", SEGMENT)
    with pytest.raises(InvalidKey):
        await store.copy("one/0.ts", key, SEGMENT)
    with pytest.raises(InvalidKey):
        await store.cool(key)
    with pytest.raises(InvalidKey):
        await store.head(key)
    with pytest.raises(InvalidKey):
        await store.delete(key)
    with pytest.raises(InvalidKey):
        await listed(store, key + "/")


async def test_a_file_that_is_gone_is_said_to_be_gone(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put_file("one/0.ts", tmp_path / "gone.ts", SEGMENT)
    assert await store.head("one/0.ts") is None


async def test_a_healthy_store_passes_its_check(store: ObjectStore) -> None:
    await store.check()
