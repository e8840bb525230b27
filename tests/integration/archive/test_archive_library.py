"""Editing, deleting and restoring: owners alone, said once, nothing lost of a change; bad input names its field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from archive.library.api import ArchiveApi
from archive.library.owners_api import LibraryApi
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Tokens
from tests.integration.archive.house import House

WEEK = 604_800.0


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    apis = [
        ArchiveApi(house.recordings, playback_path="/recordings"),
        LibraryApi(house.recordings, house.outbox, playback_path="/recordings", undo_seconds=WEEK),
    ]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=Tokens()), apis) as held:
        yield held


async def over(house: House) -> UUID:
    stream_id = await house.started()
    await house.ended(stream_id)
    return stream_id


async def edit(client: HeldClient, stream_id: UUID, change: object, *, token: str | None = ADA.token) -> Answer:
    return await client.request("PATCH", f"/api/archives/{stream_id}", json=change, token=token)


async def test_an_edit_changes_what_it_names_and_no_late_start_takes_it_back(house: House, client: HeldClient) -> None:
    stream_id = await house.started()
    for change in ({"title": "  Difference engines  "}, {"visibility": "unlisted"}, {"preserve": True}, {}):
        assert (await edit(client, stream_id, change)).status == 200
    await house.started(stream_id)
    seen = (await client.get(f"/api/archives/{stream_id}", token=ADA.token)).body
    assert (seen["title"], seen["visibility"], seen["preserve"]) == ("Difference engines", "unlisted", True)
    assert (await client.get(f"/api/archives/{stream_id}", token=BOB.token)).body["preserve"] is None


async def test_a_change_that_makes_no_sense_names_its_field_and_limit(house: House, client: HeldClient) -> None:
    stream_id = await house.started()
    changes: list[tuple[Any, str]] = [
        ({"title": ""}, "body.title"),
        ({"title": "   "}, "body.title"),
        ({"title": "x" * 141}, "body.title"),
        ({"title": "two\nlines"}, "body.title"),
        ({"title": "two\u2028lines"}, "body.title"),
        ({"title": "bell\u0007"}, "body.title"),
        ({"title": "\u200b\u200d"}, "body.title"),
        ({"title": "nul\u0000"}, "body.title"),
        ({"title": 7}, "body.title"),
        ({"visibility": "secret"}, "body.visibility"),
        ({"visibility": ["public"]}, "body.visibility"),
        ({"preserve": "yes"}, "body.preserve"),
        ({"preserve": 1}, "body.preserve"),
        ({"status": "completed"}, "body.status"),
        ([], "body"),
    ]
    for change, field in changes:
        answer = await edit(client, stream_id, change)
        assert answer.status == 422, change
        assert answer.body["errors"][0]["field"] == field
        if change == {"title": "x" * 141}:
            assert "140" in answer.body["errors"][0]["message"]
    assert (await house.recording(stream_id)).title == "Engines"


async def test_titles_in_any_script_are_taken(house: House, client: HeldClient) -> None:
    stream_id = await house.started()
    for title in ("Дифференциальная машина", "差分機", "مولد الفروق", "👩‍👩‍👧 family", "x" * 140):
        assert (await edit(client, stream_id, {"title": title})).body["title"] == title


async def test_what_is_deleted_is_gone_for_others_at_once_and_comes_back(house: House, client: HeldClient) -> None:
    stream_id = await over(house)
    path = f"/api/archives/{stream_id}"
    for _ in range(2):
        deleted = (await client.delete(path, token=ADA.token)).body
    assert deleted["deleted_at"] is not None
    assert deleted["playback_url"] is None
    assert (await client.get(path)).status == (await client.get(path, token=BOB.token)).status == 404
    assert (await client.get("/api/archives")).body["items"] == []
    refused = await edit(client, stream_id, {"title": "Still here?"})
    assert (refused.status, refused.problem) == (409, "recording-is-deleted")
    for _ in range(2):
        restored = await client.post(f"{path}/restore", token=ADA.token)
        assert (restored.status, restored.body["deleted_at"], restored.body["purge_at"]) == (200, None, None)
    assert (await client.get(path)).status == 200
    said = await house.said()
    assert [kind for kind, _ in said] == ["recording.deleted", "recording.restored"]
    assert said[0][1]["reason"] == "owner"
    assert said[0][1]["purge_at"] == deleted["purge_at"]


async def test_an_owner_deletes_what_is_preserved_and_not_what_still_runs(house: House, client: HeldClient) -> None:
    running, preserved = await house.started(), await over(house)
    refused = await client.delete(f"/api/archives/{running}", token=ADA.token)
    assert (refused.status, refused.problem) == (409, "recording-still-runs")
    await edit(client, preserved, {"preserve": True})
    assert (await client.delete(f"/api/archives/{preserved}", token=ADA.token)).status == 200
    assert len(await house.said()) == 1


async def test_after_the_undo_period_it_is_too_late(house: House, client: HeldClient) -> None:
    stream_id = await over(house)
    await client.delete(f"/api/archives/{stream_id}", token=ADA.token)
    await house.pool.execute("update recordings set purge_due_at = now() where stream_id = $1", stream_id)
    refused = await client.post(f"/api/archives/{stream_id}/restore", token=ADA.token)
    assert (refused.status, refused.problem) == (409, "too-late-to-restore")


async def test_only_the_owner_may(house: House, client: HeldClient) -> None:
    public, private = await over(house), await over(house)
    await edit(client, private, {"visibility": "private"})
    for method, below, body in (("PATCH", "", {"title": "Mine"}), ("DELETE", "", None), ("POST", "/restore", None)):
        for token, stream_id, status in (
            (None, public, 401),
            ("nonsense", public, 401),
            (BOB.token, public, 403),
            (BOB.token, private, 404),
            (ADA.token, uuid7(), 404),
            (ADA.token, "not-an-id", 422),
        ):
            answer = await client.request(method, f"/api/archives/{stream_id}{below}", token=token, json=body)
            assert answer.status == status, (method, token, answer.body)
    assert [kind for kind, _ in await house.said()] == ["recording.visibility-changed"]


async def test_who_sees_a_recording_is_said_when_it_changes_and_only_then(house: House, client: HeldClient) -> None:
    stream_id = await over(house)
    for change in ({"visibility": "private"}, {"visibility": "private"}, {"title": "Other"}, {"visibility": "public"}):
        assert (await edit(client, stream_id, change)).status == 200
    said = await house.said()
    assert [(kind, event["visibility"]) for kind, event in said] == [
        ("recording.visibility-changed", "private"),
        ("recording.visibility-changed", "public"),
    ]
    await client.delete(f"/api/archives/{stream_id}", token=ADA.token)
    assert (await edit(client, stream_id, {"visibility": "private"})).status == 409
    assert len(await house.said()) == 3
