"""Captions: named by the master once they are there, replaced, removed, seen by whoever sees the recording."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from archive.library.api import ArchiveApi
from archive.library.captions import LANGUAGES_MAX, CaptionStore
from archive.library.captions_api import CAPTIONS_BYTES_MAX, CaptionsApi
from archive.library.owners_api import LibraryApi
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Person, Tokens
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House
from tests.integration.archive.playing import Recorded, playing

VTT = b"WEBVTT\n\n00:01.000 --> 00:03.000\nHello\n"


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    store = CaptionStore(house.pool, house.outbox, house.objects, house.runner, house.work)
    apis = [
        ArchiveApi(house.recordings, playback_path="/recordings"),
        LibraryApi(house.recordings, house.outbox, playback_path="/recordings", undo_seconds=3600),
        CaptionsApi(house.recordings, store, playback_path="/recordings"),
    ]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=Tokens()), apis) as held:
        yield held


async def put(
    client: HeldClient,
    stream_id: object,
    language: str = "en",
    body: bytes = VTT,
    *,
    caller: Person | None = ADA,
    label: str | None = None,
    content_type: str = "text/vtt; charset=utf-8",
) -> Answer:
    return await client.put(
        f"/api/archives/{stream_id}/captions/{language}",
        data=io.BytesIO(body),
        params={} if label is None else {"label": label},
        headers={"Content-Type": content_type},
        token=None if caller is None else caller.token,
    )


async def keys(house: House, stream_id: UUID) -> list[str]:
    return [found.key async for found in house.objects.list(f"{stream_id}/captions/")]


async def test_captions_come_and_go_with_the_master(house: House, client: HeldClient, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    first = await put(client, stream_id, "EN-us", label="  English (US) ")
    assert (first.status, first.body["language"], first.body["label"]) == (200, "en-US", "English (US)")
    second = await put(client, stream_id, "en-US", VTT.replace(b"Hello", b"Good day"))
    await put(client, stream_id, "de")
    assert first.body["url"] != second.body["url"], "what a player may have is not overwritten"
    master = await house.text(f"{stream_id}/master.m3u8")
    media = [line for line in master.splitlines() if line.startswith("#EXT-X-MEDIA:")]
    assert ["de" in media[0], "en-US" in media[1], len(media)] == [True, True, 2]
    assert 'SUBTITLES="' in master
    playlist = media[1].split('URI="')[1].split('"')[0]
    assert await house.pieces(f"{stream_id}/{playlist}") == [second.body["url"].removeprefix("/recordings/")]
    vtt = await house.text(second.body["url"].removeprefix("/recordings/"))
    assert "Good day" in vtt
    assert "X-TIMESTAMP-MAP=MPEGTS:" in vtt
    listed = (await client.get(f"/api/archives/{stream_id}/captions")).body["items"]
    assert [item["language"] for item in listed] == ["de", "en-US"]
    assert (await client.get(f"/api/archives/{stream_id}")).body["captions"] == listed
    path = f"/api/archives/{stream_id}/captions/en-us"
    assert [(await client.delete(path, token=ADA.token)).status for _ in range(2)] == [204, 404]
    assert (await house.text(f"{stream_id}/master.m3u8")).count("#EXT-X-MEDIA:") == 1
    assert second.body["url"].removeprefix("/recordings/") not in await keys(house, stream_id)
    named = await house.pool.fetch("select name from recording_files where stream_id = $1", stream_id)
    assert len(named) == 2, "the file and its playlist are both known, so that a copy of the store has both"


async def test_many_at_once_leave_one_master_with_all_of_them(
    house: House, client: HeldClient, small_clip: Clip
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    languages = [f"{first}{second}" for first in "ab" for second in "cdefghijkl"]
    assert len(languages) == LANGUAGES_MAX
    answers = await asyncio.gather(*(put(client, stream_id, language) for language in languages))
    assert {answer.status for answer in answers} == {200}
    master = await house.text(f"{stream_id}/master.m3u8")
    assert master.count("#EXT-X-MEDIA:") == LANGUAGES_MAX
    refused = await put(client, stream_id, "zu")
    assert (refused.status, refused.problem) == (409, "too-many-captions")
    assert len(await keys(house, stream_id)) == 2 * LANGUAGES_MAX, "what was refused left nothing"
    assert (await put(client, stream_id, languages[0])).status == 200, "one that is there may be replaced"


async def test_what_cannot_be_captions_is_refused(house: House, client: HeldClient, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    wrong = await put(client, stream_id, body=b"WEBVTT\n\n00:02.000 --> 00:01.000\nback")
    assert (wrong.status, wrong.body["line"], wrong.body["errors"][0]["field"]) == (422, 3, "body")
    assert "line 3" in wrong.body["errors"][0]["message"]
    for language, body, label, content_type, status in (
        ("e", VTT, None, "text/vtt", 422),
        ("en_US", VTT, None, "text/vtt", 422),
        ("x" * 36, VTT, None, "text/vtt", 422),
        ("en%00", VTT, None, "text/vtt", 422),
        ("en%2f..", VTT, None, "text/vtt", 422),
        ("en", VTT, "", "text/vtt", 422),
        ("en", VTT, "x" * 61, "text/vtt", 422),
        ("en", VTT, "two\nlines", "text/vtt", 422),
        ("en", VTT, None, "application/json", 415),
        ("en", VTT, None, "text/plain", 415),
        ("en", b"", None, "text/vtt", 422),
        ("en", VTT + b"x" * CAPTIONS_BYTES_MAX, None, "text/vtt", 413),
    ):
        answer = await put(client, stream_id, language, body, label=label, content_type=content_type)
        assert answer.status == status, (language, label, content_type, len(body), answer.body)
    assert await keys(house, stream_id) == []
    unfinished = await house.started()
    assert (await put(client, unfinished)).problem == "recording-does-not-play"


async def test_only_the_owner_changes_captions(house: House, client: HeldClient, small_clip: Clip) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    private = await playing(house, Recorded().add(small_clip))
    await house.pool.execute("update recordings set visibility = 'private' where stream_id = $1", private)
    assert (await put(client, private)).status == 200
    for caller, which, status in (
        (None, stream_id, 401),
        (BOB, stream_id, 403),
        (BOB, private, 404),
        (ADA, uuid7(), 404),
    ):
        assert (await put(client, which, caller=caller)).status == status
        token = None if caller is None else caller.token
        assert (await client.delete(f"/api/archives/{which}/captions/en", token=token)).status == status
    assert (await client.get(f"/api/archives/{private}/captions", token=BOB.token)).status == 404
    assert len((await client.get(f"/api/archives/{private}/captions", token=ADA.token)).body["items"]) == 1
    await client.delete(f"/api/archives/{private}", token=ADA.token)
    assert (await put(client, private, "de")).problem == "recording-is-deleted"
