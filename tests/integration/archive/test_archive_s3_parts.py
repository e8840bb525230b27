"""Large files and the colder class on a real S3 store: a failed upload leaves nothing, an abandoned one is swept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from archive.objects.keys import MP4, SEGMENT
from runtime.objects import StoredObject, StoreUnavailable
from runtime.objects_s3 import PARTS_ABOVE_BYTES, S3Objects, S3Place
from tests.engines import S3

# What a store without tiers of its own takes; it stands for a colder one.
COLD = "REDUCED_REDUNDANCY"


@pytest.fixture
def place(s3: S3, bucket: str) -> S3Place:
    return S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))


@pytest.fixture
async def objects(place: S3Place) -> AsyncIterator[S3Objects]:
    async with S3Objects(place, public_read=True, cold_class=COLD) as opened:
        yield opened


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.truncate(PARTS_ABOVE_BYTES + 1)
    return path


def unfinished(s3: S3, bucket: str) -> list[str]:
    client = s3.client()
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    client.close()
    return [upload["Key"] for upload in uploads]


async def test_what_was_cooled_is_in_the_colder_class_and_served_as_before(
    s3: S3, place: S3Place, objects: S3Objects
) -> None:
    await objects.put_bytes("one/0.ts", b"abc", SEGMENT)
    client = s3.client()
    changed = []
    for _ in range(2):
        assert await objects.cool("one/0.ts")
        head = client.head_object(Bucket=place.bucket, Key="one/0.ts")
        assert head["StorageClass"] == COLD
        assert (head["ContentType"], head["CacheControl"]) == (SEGMENT.content_type, SEGMENT.cache_control)
        changed.append(head["LastModified"])
    client.close()
    assert await objects.get_bytes("one/0.ts", bytes_max=3) == b"abc"
    (entry,) = [stored async for stored in objects.list()]
    assert entry == StoredObject("one/0.ts", 3)


async def test_a_large_object_is_served_as_its_kind_and_cools_too(
    s3: S3, place: S3Place, objects: S3Objects, large: Path
) -> None:
    await objects.put_file("one/0.mp4", large, MP4)
    await objects.copy("one/0.mp4", "two/0.mp4", MP4)
    assert await objects.cool("two/0.mp4")
    client = s3.client()
    heads = [client.head_object(Bucket=place.bucket, Key=key) for key in ("one/0.mp4", "two/0.mp4")]
    client.close()
    assert [head["ContentType"] for head in heads] == [MP4.content_type] * 2
    assert [head["CacheControl"] for head in heads] == [MP4.cache_control] * 2
    assert [head.get("StorageClass") for head in heads] == [None, COLD]


async def test_an_upload_of_which_a_part_fails_leaves_nothing(s3: S3, place: S3Place, large: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def forward(request: web.Request) -> web.Response:
        seen.append((request.method, request.query.get("partNumber", "")))
        if request.query.get("partNumber") == "3":
            return web.Response(status=503)
        # Signatures hold for the host that was asked for, so it is passed on.
        async with aiohttp.request(
            request.method,
            s3.endpoint_url + request.raw_path,
            headers=request.headers,
            data=BytesIO(await request.read()),
        ) as answer:
            kept = {name: answer.headers[name] for name in ("ETag", "Content-Type") if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    application = web.Application(client_max_size=PARTS_ABOVE_BYTES)
    application.router.add_route("*", "/{path:.*}", forward)
    async with TestServer(application) as proxy:
        flawed = replace(place, endpoint_url=str(proxy.make_url("")).rstrip("/"), attempts_max=1)
        async with S3Objects(flawed, public_read=False) as objects:
            with pytest.raises(StoreUnavailable, match=r"put one/0\.mp4"):
                await objects.put_file("one/0.mp4", large, MP4)
            assert ("PUT", "3") in seen
            assert await objects.head("one/0.mp4") is None
    assert unfinished(s3, place.bucket) == []


async def test_an_upload_that_nobody_finished_is_swept_once_it_is_old(
    s3: S3, place: S3Place, objects: S3Objects
) -> None:
    client = s3.client()
    for key in ("one/0.mp4", "two/0.mp4"):
        client.create_multipart_upload(Bucket=place.bucket, Key=key)
    client.close()
    assert await objects.sweep_unfinished(timedelta(hours=1), dry_run=False) == 0
    assert await objects.sweep_unfinished(timedelta(seconds=-5), dry_run=True) == 2
    assert unfinished(s3, place.bucket) == ["one/0.mp4", "two/0.mp4"]
    assert await objects.sweep_unfinished(timedelta(seconds=-5), dry_run=False) == 2
    assert unfinished(s3, place.bucket) == []
