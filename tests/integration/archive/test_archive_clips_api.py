"""Asking for clips: by owners alone, within bounds, once for each key; and trimming, which is undone by a restore."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from archive.clips.api import ClipsApi
from archive.clips.replacing import ClipReplacer
from archive.clips.settings import ClipsSettings
from archive.ladder.ladder import SourceSegment
from archive.library.api import ArchiveApi
from archive.library.owners_api import LibraryApi
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.settings import HttpSettings
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Tokens
from tests.integration.archive.counted import note
from tests.integration.archive.house import House, running, until

WEEK = 604_800.0
PENDING_MAX = 3
ORDER: dict[str, object] = {"from_seconds": 3.0, "to_seconds": 9.0}


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    settings = ClipsSettings(
        archive_clip_seconds_max=30, archive_trim_seconds_max=50, archive_clips_pending_max=PENDING_MAX
    )
    apis = [
        ArchiveApi(house.recordings, playback_path="/recordings"),
        LibraryApi(house.recordings, house.outbox, playback_path="/recordings", undo_seconds=WEEK),
        ClipsApi(house.pool, house.recordings, house.outbox, settings, playback_path="/recordings"),
    ]
    async with held_client(HttpServer(apis, settings=HttpSettings(), verifier=Tokens()), apis) as held:
        yield held


async def minute(house: House) -> UUID:
    """A recording of 60 s that plays, in rows alone: thirty segments of 2 s."""
    stream_id = await house.started()
    await house.ended(stream_id)
    for sequence in range(30):
        await note(house, stream_id, SourceSegment(sequence, 2_000, 1_000, sequence == 0))
    await plays(house, stream_id, 60_000)
    return stream_id


async def plays(house: House, stream_id: UUID, duration_ms: int) -> None:
    await house.pool.execute(
        "update recordings set status = 'completed', settled_at = now(), published_at = now(), completed_at = now(), "
        "duration_ms = $2 where stream_id = $1",
        stream_id,
        duration_ms,
    )


async def ask(
    client: HeldClient, stream_id: UUID, *, token: str | None = ADA.token, key: str | None = None, **body: object
) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(f"/api/archives/{stream_id}/clips", json=ORDER | body, token=token, headers=headers)


async def test_the_answer_says_where_the_clip_really_begins_and_ends(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    answer = await ask(client, original_id, title="  The best of it ", visibility="unlisted")
    assert answer.status == 202
    clip = answer.body
    assert (clip["clip_of"], clip["status"], clip["playback_url"]) == (str(original_id), "pending", None)
    assert (clip["clip_from_seconds"], clip["clip_to_seconds"]) == (2.0, 10.0)
    assert (clip["title"], clip["visibility"], clip["channel_name"]) == ("The best of it", "unlisted", "ada")
    exact = (await ask(client, original_id, exact=True)).body
    assert (exact["clip_from_seconds"], exact["clip_to_seconds"]) == (3.0, 9.0)
    assert (exact["title"], exact["visibility"], exact["preserve"]) == ("Engines", "public", False)
    found = (await client.get(f"/api/archives/{exact['stream_id']}")).body
    assert (found["clip_of"], found["status"]) == (str(original_id), "pending")
    jobs = await house.pool.fetch("select stream_id, urgency, work_ms from jobs where kind = 'clip' order by stream_id")
    assert [tuple(job) for job in jobs] == [(UUID(clip["stream_id"]), 0, 8_000), (UUID(exact["stream_id"]), 0, 6_000)]


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"from_seconds": -0.1}, "body.from_seconds", "0"),
    ({"from_seconds": "3"}, "body.from_seconds", "number"),
    ({"from_seconds": None}, "body.from_seconds", "number"),
    ({"to_seconds": 1e12}, "body.to_seconds", "8640000"),
    ({"to_seconds": 60.001}, "body.to_seconds", "60.000 s long"),
    ({"to_seconds": 3.5}, "body.to_seconds", "at least 1 s"),
    ({"to_seconds": 2}, "body.to_seconds", "at least 1 s"),
    ({"from_seconds": 0, "to_seconds": 31}, "body.to_seconds", "30 s long at most"),
    ({"from_seconds": 0, "to_seconds": 51, "replace": True}, "body.to_seconds", "50 s long at most"),
    ({"exact": 1}, "body.exact", "boolean"),
    ({"replace": "yes"}, "body.replace", "boolean"),
    ({"title": ""}, "body.title", "1 character"),
    ({"title": "x" * 141}, "body.title", "140"),
    ({"title": "two\nlines"}, "body.title", "one line"),
    ({"visibility": "secret"}, "body.visibility", "public"),
    ({"speed": 2}, "body.speed", "not permitted"),
]


async def test_what_cannot_be_cut_is_refused_with_field_and_limit(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    for body, field, limit in REFUSED:
        path = f"/api/archives/{original_id}/clips"
        answer = await client.post(path, json=ORDER | body, token=ADA.token)
        assert (answer.status, answer.problem) == (422, "validation-failed"), body
        assert answer.body["errors"][0]["field"] == field, body
        assert limit in answer.body["errors"][0]["message"], body
    assert await house.pool.fetchval("select count(*) from jobs") == 0


async def test_a_body_that_is_no_order_is_refused(house: House, client: HeldClient) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/api/archives/{await minute(house)}/clips"
    for text in (b'{"from_seconds": NaN, "to_seconds": 9}', b'{"from_seconds": 0}', b"[]", b"{", b""):
        assert (await client.post(path, data=text, token=ADA.token, headers=headers)).status in (400, 422), text


async def test_only_its_owner_clips_a_recording(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    assert (await ask(client, original_id, token=None)).status == 401
    refused = await ask(client, original_id, token=BOB.token)
    assert (refused.status, refused.problem) == (403, "not-your-recording")
    await house.pool.execute("update recordings set visibility = 'private' where stream_id = $1", original_id)
    assert (await ask(client, original_id, token=BOB.token)).status == 404
    assert (await ask(client, uuid7())).status == 404
    hidden = (await ask(client, original_id)).body
    assert hidden["visibility"] == "private", "a clip is no more public than what it was cut from"
    assert (await client.get(f"/api/archives/{hidden['stream_id']}", token=BOB.token)).status == 404
    assert (await client.get(f"/api/archives/{original_id}/clips", token=BOB.token)).status == 404


async def test_what_does_not_play_cannot_be_clipped(house: House, client: HeldClient) -> None:
    runs = await house.started()
    assert (await ask(client, runs)).problem == "recording-does-not-play"
    original_id = await minute(house)
    await client.delete(f"/api/archives/{original_id}", token=ADA.token)
    assert (await ask(client, original_id)).problem == "recording-is-deleted"


async def test_a_repeated_request_is_told_of_the_same_clip(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    first, again = [await ask(client, original_id, key="k-1") for _ in range(2)]
    assert (first.status, first.body) == (again.status, again.body)
    other = await ask(client, original_id, key="k-1", to_seconds=11.0)
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    assert (await ask(client, original_id, key="k-2")).body["stream_id"] != first.body["stream_id"]
    for odd in ("", "x" * 256, "tab\there"):
        assert (await ask(client, original_id, key=odd)).status == 400
    await house.pool.execute("update clip_requests set made_at = now() - interval '25 hours'")
    assert (await ask(client, original_id, key="k-3")).status == 202
    assert await house.pool.fetchval("select array_agg(request_key) from clip_requests") == ["k-3"]


async def test_a_channel_has_only_so_many_clips_in_the_making(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    made = [await ask(client, original_id, key=f"k-{number}") for number in range(PENDING_MAX)]
    refused = await ask(client, original_id, key="k-more")
    assert (refused.status, refused.problem) == (429, "too-many-clips")
    assert refused.headers["Retry-After"]
    # What was asked for before is still answered, and what is made makes room.
    assert (await ask(client, original_id, key="k-0")).status == 202
    await plays(house, UUID(made[0].body["stream_id"]), 8_000)
    assert (await ask(client, original_id, key="k-more")).status == 202


async def test_a_recordings_clips_come_by_page_and_others_see_the_public_ones(house: House, client: HeldClient) -> None:
    original_id, other_id = await minute(house), await minute(house)
    visibilities = ["public", "unlisted", "public"]
    ids = [(await ask(client, original_id, visibility=one)).body["stream_id"] for one in visibilities]
    path = f"/api/archives/{original_id}/clips"
    page = (await client.get(f"{path}?limit=2", token=ADA.token)).body
    rest = (await client.get(f"{path}?limit=2&cursor={page['next_cursor']}", token=ADA.token)).body
    assert [item["stream_id"] for item in [*page["items"], *rest["items"]]] == ids[::-1]
    assert rest["next_cursor"] is None
    for token in (None, BOB.token):
        seen = (await client.get(path, token=token)).body
        assert [item["stream_id"] for item in seen["items"]] == [ids[2], ids[0]]
    assert (await client.get(f"/api/archives/{other_id}/clips", token=ADA.token)).body["items"] == []
    assert (await client.get(f"{path}?cursor=odd")).status == 400
    assert (await client.get(f"{path}?limit=0")).status == 422


async def test_a_trimmed_recording_takes_the_place_only_once_it_plays(house: House, client: HeldClient) -> None:
    original_id = await minute(house)
    await house.pool.execute("update recordings set preserve = true where stream_id = $1", original_id)
    trimmed = (await ask(client, original_id, replace=True, to_seconds=49.0)).body
    assert trimmed["preserve"] is True
    replacer = ClipReplacer(house.outbox, undo_seconds=WEEK)
    assert not await replacer.replace_one()
    assert (await client.get(f"/api/archives/{original_id}")).status == 200
    await plays(house, UUID(trimmed["stream_id"]), 46_000)
    async with running(replacer):

        async def replaced() -> bool:
            return (await client.get(f"/api/archives/{original_id}")).status == 404

        await until(replaced)
    hidden = (await client.get(f"/api/archives/{original_id}", token=ADA.token)).body
    assert (hidden["replaced_by"], hidden["playback_url"]) == (trimmed["stream_id"], None)
    assert hidden["purge_at"] is not None
    assert [(kind, facts["reason"]) for kind, facts in await house.said()] == [("recording.deleted", "replaced")]
    # Restored, it stays: it is replaced once.
    restored = (await client.post(f"/api/archives/{original_id}/restore", token=ADA.token)).body
    assert (restored["deleted_at"], restored["replaced_by"]) == (None, None)
    assert not await replacer.replace_one()
    assert (await client.get(f"/api/archives/{original_id}")).status == 200


async def test_a_trimmed_recording_that_failed_or_was_deleted_replaces_nothing(
    house: House, client: HeldClient
) -> None:
    original_id = await minute(house)
    failed = (await ask(client, original_id, replace=True)).body["stream_id"]
    deleted = (await ask(client, original_id, replace=True)).body["stream_id"]
    await house.pool.execute(
        "update recordings set status = 'failed', failed_at = now(), failure = 'x' where stream_id = $1", UUID(failed)
    )
    await plays(house, UUID(deleted), 8_000)
    await client.delete(f"/api/archives/{deleted}", token=ADA.token)
    assert not await ClipReplacer(house.outbox, undo_seconds=WEEK).replace_one()
    assert (await client.get(f"/api/archives/{original_id}")).status == 200
