"""Streams that are prepared: whose they are, when they begin, and what has become of what was announced."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streaming.streams.preparing import PREPARED_STREAMS_MAX
from tests.integration.streaming.asking import Asking
from tests.integration.streaming.publisher import eventually
from tests.integration.streaming.studio import Studio, User

ADA, BOB = User("ada"), User("bob")
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def ask(studio: Studio) -> Asking:
    return Asking(studio)


def at(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


async def prepare(ask: Asking, user: User = ADA, **body: object) -> dict[str, Any]:
    status, view = await ask("POST", "/api/streams", user, body={"title": "Chess", **body})
    assert status == 201, view
    prepared: dict[str, Any] = view
    return prepared


async def test_a_stream_begins_as_it_was_prepared_and_its_announced_id_leads_there(ask: Asking) -> None:
    said: dict[str, Any] = {
        "title": "Sicilian",
        "category": "Chess",
        "tags": [" E4 ", "#e4", "Open   Game"],
        "language": "en-gb",
        "visibility": "unlisted",
    }
    announced = await prepare(ask, **said)
    assert (announced["status"], announced["tags"], announced["language"]) == ("prepared", ["e4", "open game"], "en-GB")
    assert announced["playback_url"] is announced["started_at"] is None
    stream_id = await ask.go_live(ADA)
    _, stream = await ask("GET", f"/api/streams/{announced['stream_id']}")
    assert stream["stream_id"] == stream_id != announced["stream_id"]
    for name in ("title", "category", "tags", "language", "visibility"):
        assert stream[name] == announced[name]
    [started] = await ask.studio.said("stream.started")
    assert (started["title"], started["tags"], started["language"]) == ("Sicilian", ["e4", "open game"], "en-GB")
    assert started["visibility"] == "unlisted"
    # under its announced id it can also be changed and ended
    announced_path = f"/api/streams/{announced['stream_id']}"
    assert (await ask("PATCH", announced_path, ADA, body={"title": "Najdorf"}))[1]["title"] == "Najdorf"
    assert (await ask("POST", f"{announced_path}/end", ADA))[1]["status"] == "ended"


async def test_the_earliest_due_one_begins_and_others_wait_for_their_turn(ask: Asking) -> None:
    key = await ask.key(ADA)
    await prepare(ask, title="tomorrow", scheduled_at=at(days=1))
    await prepare(ask, title="soon", scheduled_at=at(minutes=50))
    await prepare(ask, title="whenever")
    for title in ("whenever", "soon", "ada is live"):
        stream_id = await ask.go_live(ADA, key)
        assert (await ask.studio.stream(stream_id))["title"] == title
        await ask("POST", f"/api/streams/{stream_id}/end", ADA)
    assert await ask.titles(status="prepared", channel_id=str(ADA.user_id)) == ["tomorrow"]


async def test_publishes_that_race_begin_one_prepared_stream(ask: Asking) -> None:
    key = await ask.key(ADA)
    for number in range(2):
        await prepare(ask, title=f"stream {number}")
    answers = await asyncio.gather(*(ask.studio.publish(key, client) for client in range(6)))
    assert {status for status, _ in answers} == {302} and len({stream_id for _, stream_id in answers}) == 1
    assert len(await ask.studio.said("stream.started")) == 1
    assert await ask.titles(status="prepared", channel_id=str(ADA.user_id)) == ["stream 1"]


@pytest.mark.parametrize(
    ("meanwhile", "title"),
    [("UPDATE prepared_streams SET title = 'changed'", "changed"), ("DELETE FROM prepared_streams", "ada is live")],
)
async def test_a_change_at_the_moment_of_the_beginning_counts(ask: Asking, meanwhile: str, title: str) -> None:
    key = await ask.key(ADA)
    await prepare(ask, title="prepared")
    async with ask.studio.pool.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await connection.execute(meanwhile)
        publishing = asyncio.create_task(ask.studio.publish(key))
        await eventually(lambda: ask.studio.rows(WAITING), until=bool, what="the publish that waits")
        await change.commit()
    status, stream_id = await publishing
    assert (status, (await ask.studio.stream(stream_id))["title"]) == (302, title)


async def test_what_was_prepared_too_long_ago_is_gone(ask: Asking) -> None:
    prepared = await prepare(ask)
    await ask.studio.rows("UPDATE prepared_streams SET expires_at = now() - interval '1 s' RETURNING 1")
    assert (await ask("GET", f"/api/streams/{prepared['stream_id']}", ADA))[0] == 404
    stream_id = await ask.go_live(ADA)
    assert (await ask.studio.stream(stream_id))["title"] == "ada is live"
    await prepare(ask)
    assert len(await ask.studio.rows("SELECT FROM prepared_streams")) == 1


async def test_a_channel_prepares_so_many_at_most(ask: Asking) -> None:
    asked = [
        ask.problem("POST", "/api/streams", ADA, body={"title": f"{number}"})
        if number >= PREPARED_STREAMS_MAX
        else prepare(ask)
        for number in range(PREPARED_STREAMS_MAX + 1)
    ]
    for one in asked[:-1]:
        await one
    assert await asked[-1] == (409, "too-many-prepared-streams")
    await prepare(ask, BOB)


async def test_a_prepared_stream_is_changed_and_dropped_by_its_streamer(ask: Asking) -> None:
    prepared = await prepare(ask, scheduled_at=at(days=2))
    path = f"/api/streams/{prepared['stream_id']}"
    assert await ask.problem("PATCH", path, BOB, body={"title": "mine"}) == (403, "not-your-stream")
    assert await ask.problem("DELETE", path, BOB) == (403, "not-your-stream")
    assert (await ask("PATCH", path, body={"title": "x"}))[0] == (await ask("DELETE", path))[0] == 401
    _, changed = await ask("PATCH", path, ADA, body={"title": "Go", "scheduled_at": None, "visibility": "private"})
    assert (changed["title"], changed["scheduled_at"], changed["visibility"]) == ("Go", None, "private")
    for user in (None, BOB):
        assert (await ask("GET", path, user))[0] == 404
    assert await ask.problem("DELETE", path, BOB) == (404, "stream-not-found")
    assert await ask.problem("POST", f"{path}/end", ADA) == (409, "stream-not-prepared")
    assert await ask.problem("POST", f"{path}/kick", ADA, body={"seconds": None}) == (409, "stream-not-prepared")
    assert (await ask("DELETE", path, ADA))[0] == 204
    assert await ask.problem("DELETE", path, ADA) == (404, "stream-not-found")
    assert await ask.studio.said("stream.updated") == []


async def test_what_has_begun_is_not_dropped_and_has_no_time_any_more(ask: Asking) -> None:
    prepared = await prepare(ask)
    await ask.go_live(ADA)
    path = f"/api/streams/{prepared['stream_id']}"
    assert await ask.problem("DELETE", path, ADA) == (409, "stream-has-begun")
    assert await ask.problem("PATCH", path, ADA, body={"scheduled_at": at(days=1)}) == (409, "stream-not-prepared")


BAD: list[tuple[str, object]] = [
    ("title", ""),
    ("title", "x" * 141),
    ("title", 5),
    ("title", "a\0b"),
    ("category", "x" * 51),
    ("tags", "chess"),
    ("tags", ["x" * 26]),
    ("tags", [""]),
    ("tags", ["a\u202eb"]),
    ("tags", [f"tag {number}" for number in range(11)]),
    ("language", "english"),
    ("language", "en_GB"),
    ("language", "x"),
    ("visibility", "secret"),
    ("visibility", None),
    ("scheduled_at", "tomorrow"),
    ("scheduled_at", "2026-01-01T00:00:00"),
    ("scheduled_at", "2020-01-01T00:00:00Z"),
    ("scheduled_at", "2999-01-01T00:00:00Z"),
    ("stream_id", "01930000-0000-7000-8000-000000000001"),
]


async def test_bad_input_is_refused_by_field(ask: Asking) -> None:
    prepared = await prepare(ask)
    for name, value in BAD:
        for method, path in (("POST", "/api/streams"), ("PATCH", f"/api/streams/{prepared['stream_id']}")):
            status, problem = await ask(method, path, ADA, body={"title": "x", name: value})
            assert status == 422, (method, name, value, problem)
            assert problem["errors"][0]["field"].startswith("body"), (method, name, value)
    assert (await ask("PATCH", f"/api/streams/{prepared['stream_id']}", ADA, body={}))[0] == 422
    assert await ask.titles(ADA, status="prepared", channel_id=str(ADA.user_id)) == ["Chess"]
