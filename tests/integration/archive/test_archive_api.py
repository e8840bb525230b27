"""The API of recordings: public, by cursor, by channel; answers held to the OpenAPI document."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from archive.library.api import ArchiveApi
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.contract.held_client import HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Tokens
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import CHANNEL, House, running
from tests.integration.archive.media_server import MediaServerDisk

OTHER_CHANNEL = UUID("01890000-0000-7000-8000-00000000c4a2")


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    api = ArchiveApi(house.recordings, playback_path="/recordings")
    async with held_client(HttpServer([api], settings=HttpSettings(), verifier=Tokens()), [api]) as held:
        yield held


async def got(client: HeldClient, path: str, status: int = 200, token: str | None = None) -> dict[str, Any]:
    answer = await client.get(path, token=token)
    assert answer.status == status, answer.body
    body: dict[str, Any] = answer.body
    return body


async def test_a_recording_tells_how_far_it_is(house: House, client: HeldClient, small_clip: Clip) -> None:
    stream_id = await house.started()
    running_view = await got(client, f"/api/archives/{stream_id}")
    assert (running_view["status"], running_view["playback_url"], running_view["renditions"]) == ("pending", None, [])
    assert (running_view["title"], running_view["channel_id"]) == ("Engines", str(CHANNEL))
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(small_clip.segments, small_clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    async with running(house.shipper(), house.finaliser(), house.planner(), house.completion()):
        await house.until_status(stream_id, "completed")
    done = await got(client, f"/api/archives/{stream_id}")
    assert done["playback_url"] == f"/recordings/{stream_id}/master.m3u8"
    assert (done["status"], done["duration_seconds"], done["renditions"]) == ("completed", 4.0, ["source"])
    assert done["completed_at"] is not None
    assert done["failure"] is None


async def test_pages_have_every_recording_once_newest_first(house: House, client: HeldClient) -> None:
    ours = [await house.started() for _ in range(7)]
    seen: list[str] = []
    path = "/api/archives?limit=3"
    for _ in range(3):
        page = await got(client, path)
        seen += [item["stream_id"] for item in page["items"]]
        path = f"/api/archives?limit=3&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == [str(stream_id) for stream_id in sorted(ours, reverse=True)]


async def test_a_channels_recordings_are_its_own(house: House, client: HeldClient) -> None:
    ours = await house.started()
    theirs = await house.started()
    await house.pool.execute("update recordings set channel_id = $1 where stream_id = $2", OTHER_CHANNEL, theirs)
    for channel_id, stream_id in ((CHANNEL, ours), (OTHER_CHANNEL, theirs)):
        page = await got(client, f"/api/archives?channel_id={channel_id}")
        assert [item["stream_id"] for item in page["items"]] == [str(stream_id)]


async def test_lists_and_recordings_show_each_caller_what_it_may_see(house: House, client: HeldClient) -> None:
    public, unlisted, private, deleted, purged = [await house.started() for _ in range(5)]
    change = "update recordings set {} where stream_id = $1"
    gone = "visibility = 'public', deleted_at = now(), purge_due_at = now()"
    await house.pool.execute(change.format("visibility = 'unlisted'"), unlisted)
    await house.pool.execute(change.format("visibility = 'private'"), private)
    await house.pool.execute(change.format(gone), deleted)
    await house.pool.execute(change.format(f"{gone}, purged_at = now()"), purged)
    everywhere = ("/api/archives", f"/api/archives?channel_id={CHANNEL}")
    for path in everywhere:
        for token in (None, BOB.token):
            page = await got(client, path, token=token)
            assert [item["stream_id"] for item in page["items"]] == [str(public)], (path, token)
    for path in ("/api/archives?mine=true", everywhere[1]):
        page = await got(client, path, token=ADA.token)
        assert [item["stream_id"] for item in page["items"]] == [
            str(one) for one in (deleted, private, unlisted, public)
        ]
    assert (await got(client, "/api/archives?mine=true", token=BOB.token))["items"] == []
    await got(client, "/api/archives?mine=true", status=401)
    for stream_id, others, owner in (
        (public, 200, 200),
        (unlisted, 200, 200),
        (private, 404, 200),
        (deleted, 404, 200),
        (purged, 404, 404),
    ):
        for token in (None, BOB.token):
            await got(client, f"/api/archives/{stream_id}", status=others, token=token)
        await got(client, f"/api/archives/{stream_id}", status=owner, token=ADA.token)


async def test_an_unknown_recording_is_a_problem_with_a_type(client: HeldClient) -> None:
    body = await got(client, f"/api/archives/{uuid7()}", status=404)
    assert body["type"] == "urn:livestream:problem:recording-not-found"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/archives?cursor=odd", 400),
        ("/api/archives?limit=0", 422),
        ("/api/archives?limit=101", 422),
        ("/api/archives?channel_id=me", 422),
        ("/api/archives/not-an-id", 422),
    ],
)
async def test_what_cannot_be_asked_is_refused(client: HeldClient, path: str, status: int) -> None:
    await got(client, path, status=status)
