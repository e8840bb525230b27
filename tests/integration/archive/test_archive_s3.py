"""On a real S3 store: the bucket is made, anybody may play and nobody may list or write, and types are right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from archive.objects.keys import PLAYLIST, SEGMENT
from runtime.objects import StoreUnavailable
from runtime.objects_s3 import S3Objects, S3Place
from tests.engines import S3, unique_name
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running
from tests.integration.archive.media_server import MediaServerDisk


@pytest.fixture
def place(s3: S3, bucket: str) -> S3Place:
    return S3Place(s3.endpoint_url, bucket, SecretStr(s3.access_key_id), SecretStr(s3.secret_access_key))


@pytest.fixture
async def objects(place: S3Place) -> AsyncIterator[S3Objects]:
    async with S3Objects(place, public_read=True) as opened:
        yield opened


async def test_a_missing_bucket_is_made_and_an_existing_one_is_taken(s3: S3, place: S3Place) -> None:
    fresh = replace(place, bucket=unique_name())
    client = s3.client()
    try:
        for _ in range(2):
            async with S3Objects(fresh, public_read=True) as objects:
                await objects.check()
    finally:
        client.delete_bucket(Bucket=fresh.bucket)
        client.close()


async def test_anybody_may_read_by_key_and_do_nothing_else(place: S3Place, objects: S3Objects) -> None:
    await objects.put_bytes("one/master.m3u8", b"#EXTM3U\n", PLAYLIST)
    await objects.put_bytes("one/source/0.ts", b"abc", SEGMENT)
    root = f"{place.endpoint_url}/{place.bucket}"
    async with aiohttp.ClientSession() as anybody:
        async with anybody.get(f"{root}/one/master.m3u8") as answer:
            assert (answer.status, await answer.read()) == (200, b"#EXTM3U\n")
            assert answer.headers["Content-Type"] == "application/vnd.apple.mpegurl"
            assert answer.headers["Cache-Control"] == "public, max-age=5"
        async with anybody.get(f"{root}/one/source/0.ts", headers={"Range": "bytes=1-1"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"b")
            assert answer.headers["Content-Type"] == "video/mp2t"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        async with anybody.get(f"{root}/?list-type=2") as answer:
            assert answer.status == 403
        async with anybody.put(f"{root}/one/master.m3u8", data=b"mine now") as answer:
            assert answer.status == 403
        async with anybody.delete(f"{root}/one/master.m3u8") as answer:
            assert answer.status == 403


async def test_public_reading_can_be_left_to_others(s3: S3, place: S3Place) -> None:
    async with S3Objects(place, public_read=False) as objects:
        await objects.put_bytes("one/master.m3u8", b"#EXTM3U\n", PLAYLIST)
    async with (
        aiohttp.ClientSession() as anybody,
        anybody.get(f"{place.endpoint_url}/{place.bucket}/one/master.m3u8") as answer,
    ):
        assert answer.status == 403
    client = s3.client()
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        client.get_bucket_policy(Bucket=place.bucket)
    client.close()


async def test_a_store_that_is_away_or_refuses_is_said_to_be_unavailable(place: S3Place) -> None:
    away = replace(place, endpoint_url="http://127.0.0.1:1", attempts_max=1)
    with pytest.raises(StoreUnavailable, match="prepare bucket"):
        async with S3Objects(away, public_read=True):
            pass
    wrong = replace(place, secret_access_key=SecretStr("wrong-wrong-wrong"))
    with pytest.raises(StoreUnavailable) as refused:
        async with S3Objects(wrong, public_read=True):
            pass
    assert "wrong-wrong" not in str(refused.value)


async def test_a_recording_plays_from_the_store_without_a_key(
    house: House, place: S3Place, objects: S3Objects, clip: Clip
) -> None:
    on_s3 = replace(house, objects=objects)
    stream_id = await on_s3.started()
    disk = MediaServerDisk(on_s3.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await on_s3.ended(stream_id)
    async with running(on_s3.shipper(), on_s3.finaliser(), on_s3.worker(), on_s3.planner(), on_s3.completion()):
        await on_s3.until_status(stream_id, "completed")
    root = f"{place.endpoint_url}/{place.bucket}/{stream_id}"
    async with aiohttp.ClientSession(raise_for_status=True) as anybody:
        for rendition in ("source", "480p"):
            async with anybody.get(f"{root}/master.m3u8") as answer:
                assert f"{rendition}/index.m3u8" in await answer.text()
            async with anybody.get(f"{root}/{rendition}/index.m3u8") as answer:
                names = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
            for name in names:
                async with anybody.get(f"{root}/{rendition}/{name}") as answer:
                    assert len(await answer.read()) > 1000
