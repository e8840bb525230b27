"""Going back in a running stream: players read a growing playlist of what is in the store, to its end."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from archive.publishing.rewind import LOOK_AGAIN_SECONDS, Rewinds
from archive.publishing.rewind_api import RewindApi
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.integration.archive.callers import ADA, BOB, Person, Tokens
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk

Players = TestClient[web.Request, web.Application]


@pytest.fixture
async def players(house: House, tmp_path: Path) -> AsyncIterator[Players]:
    """The API, and the objects where the edge has them."""
    api = RewindApi(house.recordings, Rewinds(house.pool, playback_path="/recordings"))
    application = await HttpServer([api], settings=HttpSettings(), verifier=Tokens()).application()
    application.router.add_static("/recordings", tmp_path / "objects")
    async with TestClient(TestServer(application)) as client:
        yield client


async def asked(
    players: Players, stream_id: UUID, *, who: Person | None = None, version: str | None = None
) -> ClientResponse:
    headers = {} if who is None else {"Authorization": f"Bearer {who.token}"}
    headers |= {} if version is None else {"If-None-Match": version}
    return await players.get(f"/api/archives/{stream_id}/rewind.m3u8", headers=headers)


async def until_named(players: Players, stream_id: UUID, segments: int) -> str:
    """The playlist once it names so many."""
    text = ""

    async def reached() -> bool:
        nonlocal text
        answer = await asked(players, stream_id)
        text = await answer.text() if answer.status == 200 else ""
        return text.count(".ts") >= segments

    await until(reached)
    return text


async def test_a_player_reads_what_was_added_until_the_recording_plays(
    house: House, players: Players, small_clip: Clip
) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    read: list[str] = []
    async with running(house.shipper(), house.finaliser()):
        for number in range(4):
            if number == 2:
                disk.reconnect()
            disk.close(small_clip.segments[number % 2], small_clip.durations_ms[number % 2])
            text = await until_named(players, stream_id, number + 1)
            # What a player has read before is there unchanged, and nothing else in front of it.
            assert text.splitlines()[: len(read)] == read
            assert "#EXT-X-ENDLIST" not in text
            read = text.splitlines()
        await house.ended(stream_id)
        await house.until_status(stream_id, "processing", "completed")

        async def complete() -> bool:
            return (await (await asked(players, stream_id)).text()).endswith("#EXT-X-ENDLIST\n")

        await until(complete)
    lines = (await (await asked(players, stream_id)).text()).splitlines()
    assert lines == [*read, "#EXT-X-ENDLIST"]
    assert read.count("#EXT-X-DISCONTINUITY") == 1
    for line in read:
        if not line.startswith("#"):
            assert (await players.get(line)).status == 200


async def test_ffmpeg_plays_a_growing_stream_to_its_end(house: House, players: Players, small_clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    async with running(house.shipper(), house.finaliser()):
        disk.close(small_clip.segments[0], small_clip.durations_ms[0])
        await until_named(players, stream_id, 1)
        url = str(players.make_url(f"/api/archives/{stream_id}/rewind.m3u8"))
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-live_start_index", "0", "-i", url, "-map", "0:v"]
        player = await asyncio.create_subprocess_exec(
            *argv, "-f", "framecrc", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        disk.close(small_clip.segments[1], small_clip.durations_ms[1])
        await until_named(players, stream_id, 2)
        await house.ended(stream_id)
        async with asyncio.timeout(40):
            played, complaints = await player.communicate()
    assert player.returncode == 0, complaints.decode()
    # 4 s of 15 pictures: from the first one to the last.
    assert len([line for line in played.splitlines() if not line.startswith(b"#")]) == 60


async def test_a_player_that_has_it_all_is_told_so(house: House, players: Players, small_clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    async with running(house.shipper()):
        disk.close(small_clip.segments[0], small_clip.durations_ms[0])
        await until_named(players, stream_id, 1)
        first = await asked(players, stream_id)
        assert first.headers["Cache-Control"] == "public, max-age=1"
        assert first.content_type == "application/vnd.apple.mpegurl"
        version = first.headers["ETag"]
        same = await asked(players, stream_id, version=version)
        assert (same.status, same.headers["ETag"], await same.read()) == (304, version, b"")
        disk.close(small_clip.segments[1], small_clip.durations_ms[1])
        await until_named(players, stream_id, 2)
        changed = await asked(players, stream_id, version=version)
        assert changed.status == 200
        assert changed.headers["ETag"] != version


async def test_many_viewers_cost_one_look_a_second(house: House, players: Players, small_clip: Clip) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    async with running(house.shipper()):
        disk.close(small_clip.segments[0], small_clip.durations_ms[0])
        await until_named(players, stream_id, 1)
        disk.close(small_clip.segments[1], small_clip.durations_ms[1])
        await house.until_shipped(stream_id, 2)
    rewinds = Rewinds(house.pool, playback_path="/recordings")
    loop = asyncio.get_running_loop()
    began = loop.time()
    texts = await asyncio.gather(*(rewinds.text(stream_id, ended=False) for _ in range(50)))
    if loop.time() - began < LOOK_AGAIN_SECONDS:
        assert len({id(text) for text in texts}) == 1
    assert {text.segments for text in texts} == {2}


async def test_who_may_not_see_a_recording_may_not_go_back_in_it(
    house: House, players: Players, small_clip: Clip
) -> None:
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    assert (await asked(players, stream_id)).status == 409
    async with running(house.shipper()):
        disk.close(small_clip.segments[0], small_clip.durations_ms[0])
        await until_named(players, stream_id, 1)
    await house.pool.execute("update recordings set visibility = 'private' where stream_id = $1", stream_id)
    assert [(await asked(players, stream_id, who=who)).status for who in (None, BOB, ADA)] == [404, 404, 200]
    assert (await asked(players, stream_id, who=ADA)).headers["Cache-Control"] == "private, max-age=1"
    await house.pool.execute(
        "update recordings set deleted_at = now(), purge_due_at = now(), delete_reason = 'owner' where stream_id = $1",
        stream_id,
    )
    assert [(await asked(players, stream_id, who=who)).status for who in (None, BOB, ADA)] == [404, 404, 409]
    assert (await asked(players, uuid7())).status == 404
