"""Segment hooks over HTTP: a stream of SRS and one of MediaMTX become recordings like any other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from archive.shipping.hook_files import HookedDirectories
from archive.shipping.hooks import SegmentHooks
from archive.shipping.rows import Shipments
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import CHANNEL, House, running, until

SECRET = "a-secret-of-media-servers"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Where the media server writes."""
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


@pytest.fixture
async def client(house: House, segments: Path) -> AsyncIterator[Client]:
    directories = HookedDirectories(segments, house.hls, bytes_max=1 << 24)
    server = HttpServer([SegmentHooks(house.pool, directories, SecretStr(SECRET))], settings=HttpSettings())
    async with TestClient(TestServer(await server.application())) as client:
        yield client


def write(segments: Path, clip: Clip) -> list[Path]:
    """The segments of the clip, each written as long after the one before as it plays."""
    written_at, paths = 1_700_000_000.0, []
    for number, (body, duration_ms) in enumerate(zip(clip.segments, clip.durations_ms, strict=True)):
        paths.append(segments / f"live-{number}.ts")
        paths[-1].write_bytes(body)
        written_at += duration_ms / 1000
        os.utime(paths[-1], (written_at, written_at))
    return paths


async def settled(house: House, stream_id: UUID) -> list[tuple[int, int, bool]]:
    await house.ended(stream_id)

    async def reached() -> bool:
        return await Shipments(house.pool).settled_among([stream_id]) == {stream_id}

    await until(reached)
    rows = await house.pool.fetch(
        "select sequence, size_bytes, discontinuity from segments where stream_id = $1 order by sequence", stream_id
    )
    return [tuple(row) for row in rows]


async def test_segments_of_srs_are_recorded(house: House, client: Client, segments: Path, clip: Clip) -> None:
    stream_id = await house.started()
    async with running(house.shipper()):
        for number, path in enumerate(write(segments, clip)):
            hook = {"action": "on_hls", "stream": str(stream_id), "app": "live", "duration": 2.0, "seq_no": number}
            hook |= {"cwd": str(segments), "file": f"./{path.name}"}
            for _ in range(2):
                answer = await client.post(f"/hooks/segments/srs/{SECRET}", json=hook)
                assert (answer.status, await answer.json()) == (200, {"code": 0})
        rows = await settled(house, stream_id)
    assert rows == [(number, len(body), number == 0) for number, body in enumerate(clip.segments)]


async def test_segments_of_mediamtx_go_to_the_channels_running_recording(
    house: House, client: Client, segments: Path, clip: Clip
) -> None:
    await house.ended(await house.started())
    stream_id = await house.started()
    async with running(house.shipper()):
        for path in write(segments, clip):
            query = {"event": "segment", "path": f"live/{CHANNEL}", "file": str(path), "duration": "2.0"}
            answer = await client.post(f"/hooks/segments/mediamtx/{SECRET}", params=query)
            assert answer.status == 200
        rows = await settled(house, stream_id)
    assert [sequence for sequence, _, _ in rows] == [0, 1, 2, 3]


async def test_hooks_that_should_change_nothing_change_nothing(
    house: House, client: Client, segments: Path, small_clip: Clip
) -> None:
    over, stream_id = await house.started(), await house.started()
    await house.pool.execute("update recordings set ended_at = now(), settled_at = now() where stream_id = $1", over)
    path = write(segments, small_clip)[0]
    query = {"event": "segment", "path": f"live/{stream_id}", "file": str(path), "duration": "2.0"}
    mediamtx, srs = f"/hooks/segments/mediamtx/{SECRET}", f"/hooks/segments/srs/{SECRET}"
    statuses = [
        (await client.post("/hooks/segments/mediamtx/another-secret", params=query)).status,
        (await client.post(mediamtx, params=query | {"path": f"live/{over}"})).status,
        (await client.post(mediamtx, params=query | {"path": f"live/{uuid7()}"})).status,
        (await client.post(mediamtx, params=query | {"file": "/etc/passwd"})).status,
        (await client.post(mediamtx, params=query | {"file": str(house.hls / "0.ts")})).status,
        (await client.post(srs, data=b"\x00\xff")).status,
        (await client.post(srs, json={"action": "on_play", "stream": str(stream_id)})).status,
        (await client.post(mediamtx, params={"event": "available", "path": "x"})).status,
    ]
    assert statuses == [403, 404, 404, 400, 403, 400, 200, 200]
    assert list(house.hls.iterdir()) == []
