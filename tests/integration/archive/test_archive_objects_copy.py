"""Copying a store: all arrives and is proven, a killed copy is resumed, and no playlist is ahead of its media."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from archive.objects.copying import Copy
from archive.objects.keys import kind_of
from runtime.objects import ObjectKind, ObjectStore, StoredObject, StoreUnavailable
from runtime.objects_disk import DiskObjects
from runtime.objects_s3 import S3Objects, S3Place
from tests.conftest import FaultPlan
from tests.engines import S3
from tests.integration.archive.house import until

RECORDINGS = ("01975a7e-0000-7000-8000-000000000001", "01975a7e-0000-7000-8000-000000000002")


def media_store(root: Path, *, segments: int = 6) -> dict[str, bytes]:
    """A store of two recordings as files; its objects."""
    bodies: dict[str, bytes] = {}
    for recording in RECORDINGS:
        for rendition in ("source", "480p"):
            names = [f"{number}.ts" for number in range(segments)]
            bodies |= {f"{recording}/{rendition}/{name}": os.urandom(20_000) for name in names}
            bodies[f"{recording}/{rendition}/index.m3u8"] = "\n".join(names).encode()
        bodies[f"{recording}/master.m3u8"] = b"source/index.m3u8\n480p/index.m3u8"
    for key, body in bodies.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(body)
    return bodies


async def contents(store: ObjectStore) -> dict[str, bytes]:
    return {stored.key: await store.get_bytes(stored.key, bytes_max=1 << 20) async for stored in store.list()}


def named_but_missing(root: Path) -> list[str]:
    """What playlists below `root` name and is not there."""
    return [
        f"{playlist} names {line}"
        for playlist in root.rglob("*.m3u8")
        for line in playlist.read_text().splitlines()
        if not (playlist.parent / line).exists()
    ]


@pytest.fixture
def source_objects(tmp_path: Path) -> dict[str, bytes]:
    return media_store(tmp_path / "source")


@pytest.fixture(params=["disk", "s3"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "disk":
        async with DiskObjects(tmp_path / "target") as disk:
            yield disk
        return
    s3, bucket = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    async with S3Objects(place, public_read=True) as objects:
        yield objects


async def test_everything_arrives_and_a_second_copy_changes_nothing(
    source_objects: dict[str, bytes], target: ObjectStore, tmp_path: Path
) -> None:
    async with DiskObjects(tmp_path / "source") as source:
        report = await Copy(source, target, workers=3).run()
        assert (report.complete, report.outcomes["copied"]) == (True, len(source_objects))
        assert report.bytes_copied == sum(map(len, source_objects.values()))
        assert await contents(target) == source_objects
        versions = [stored.version async for stored in target.list()]
        again = await Copy(source, target, workers=3, read_back=True).run()
        assert (again.outcomes["copied"], again.outcomes["there"]) == (0, len(source_objects))
        assert [stored.version async for stored in target.list()] == versions


async def test_what_differs_with_the_same_size_is_copied_again(
    source_objects: dict[str, bytes], target: ObjectStore, tmp_path: Path
) -> None:
    wrong = f"{RECORDINGS[0]}/source/3.ts"
    await target.put_bytes(wrong, bytes(len(source_objects[wrong])), kind_of(wrong))
    await target.put_bytes(f"{RECORDINGS[1]}/source/0.ts", b"half of i", kind_of(wrong))
    async with DiskObjects(tmp_path / "source") as source:
        report = await Copy(source, target, workers=3).run()
    assert report.outcomes["copied"] == len(source_objects)
    assert await contents(target) == source_objects


async def test_only_one_recording(source_objects: dict[str, bytes], target: ObjectStore, tmp_path: Path) -> None:
    async with DiskObjects(tmp_path / "source") as source:
        await Copy(source, target, workers=2).run(f"{RECORDINGS[1]}/")
    assert await contents(target) == {
        key: body for key, body in source_objects.items() if key.startswith(RECORDINGS[1])
    }


async def test_back_from_s3_it_is_the_same(
    source_objects: dict[str, bytes], s3: S3, bucket: str, tmp_path: Path
) -> None:
    place = S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))
    async with (
        DiskObjects(tmp_path / "source") as source,
        S3Objects(place, public_read=True) as there,
        DiskObjects(tmp_path / "back") as back,
    ):
        await Copy(source, there, workers=4).run()
        await Copy(there, back, workers=4).run()
        assert await contents(back) == source_objects


class LossyObjects(DiskObjects):
    """A disk that keeps other bytes than it was given, for keys that end so."""

    damaged = "source/2.ts"

    async def put_file(self, key: str, path: Path, kind: ObjectKind) -> StoredObject:
        if not key.endswith(self.damaged):
            return await super().put_file(key, path, kind)
        body = bytearray(await asyncio.to_thread(path.read_bytes))
        body[7] ^= 1
        return await self.put_bytes(key, bytes(body), kind)


async def test_a_target_that_damages_is_found_out_and_gets_no_playlist(
    source_objects: dict[str, bytes], tmp_path: Path
) -> None:
    async with DiskObjects(tmp_path / "source") as source, LossyObjects(tmp_path / "target") as target:
        report = await Copy(source, target, workers=3).run()
    assert not report.complete
    assert sorted(report.failures) == [f"{recording}/source/2.ts" for recording in RECORDINGS]
    assert (report.outcomes["failed"], report.outcomes["skipped"]) == (2, 6)
    assert list((tmp_path / "target").rglob("*.m3u8")) == []


async def test_a_target_that_is_full_ends_the_copy(source_objects: dict[str, bytes], tmp_path: Path) -> None:
    async with DiskObjects(tmp_path / "source") as source, DiskObjects(tmp_path / "t", reserve_bytes=1 << 60) as target:
        with pytest.raises(StoreUnavailable, match="is full"):
            await Copy(source, target, workers=3).run()


def livestream(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=clean(environment))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "console", "objects", "copy", *arguments]


def clean(environment: dict[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    return kept | (environment or {}) | {"LIVESTREAM_ARCHIVE_DISK_RESERVE_BYTES": "0"}


def test_the_command_copies_to_s3_with_the_settings_and_says_so_to_programs(
    source_objects: dict[str, bytes], s3: S3, bucket: str, tmp_path: Path
) -> None:
    environment = {
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(tmp_path / "source"),
        "LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL": s3.endpoint_url,
        "LIVESTREAM_ARCHIVE_S3_BUCKET": bucket,
        "LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID": s3.access_key_id,
        "LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": "/known/to/others",
    }
    there = livestream("--from", "disk", "--to", "s3", "--json", environment=environment)
    assert there.returncode == 0, there.stderr
    said: dict[str, Any] = json.loads(there.stdout)
    assert (said["complete"], said["copied"], said["failures"]) == (True, len(source_objects), {})
    back = livestream("--from", "s3", "--to", f"disk:{tmp_path / 'back'}", environment=environment)
    assert back.returncode == 0, back.stderr
    assert f"{len(source_objects)} copied" in back.stdout
    same = {key: (tmp_path / "back" / key).read_bytes() == body for key, body in source_objects.items()}
    assert all(same.values())


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--from", "disk:a", "--to", "disk:a"), 2, "the same place"),
        (("--from", "ftp:a", "--to", "s3"), 2, "wanted s3, disk or disk:DIR"),
        (("--from", "disk:a", "--to", "disk:b", "--prefix", "../x/"), 2, "wanted a folder"),
        (("--from", "disk:no-such-directory", "--to", "disk:b"), 2, "is not a directory"),
        (("--from", "disk:.", "--to", "s3"), 2, "LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], code: int, reason: str) -> None:
    ended = livestream(*arguments)
    assert ended.returncode == code
    assert reason in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


async def test_a_copy_that_is_killed_anywhere_is_resumed_and_never_names_what_is_not_there(
    tmp_path: Path, fault_plan: FaultPlan
) -> None:
    objects = media_store(tmp_path / "source", segments=30)
    moments = random.Random(fault_plan.seed)
    target = tmp_path / "target"
    arguments = command("--from", f"disk:{tmp_path / 'source'}", "--to", f"disk:{target}", "--workers", "2", "--json")
    for _ in range(fault_plan.points):
        shutil.rmtree(target, ignore_errors=True)
        wanted = moments.randrange(len(objects))
        process = await asyncio.create_subprocess_exec(*arguments, env=clean(None), stdout=asyncio.subprocess.PIPE)

        async def far_enough(wanted: int = wanted, process: asyncio.subprocess.Process = process) -> bool:
            return process.returncode is not None or len(keys_below(target)) >= wanted

        await until(far_enough)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert named_but_missing(target) == []
        for key in keys_below(target):
            assert (target / key).read_bytes() == objects[key]
        resumed = await asyncio.to_thread(subprocess.run, arguments, env=clean(None), capture_output=True, check=True)
        said = json.loads(resumed.stdout)
        assert said["complete"] and said["there"] >= min(wanted, len(objects) - 2)
        assert keys_below(target) == sorted(objects)


def keys_below(root: Path) -> list[str]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not path.parts[0].startswith("."))
