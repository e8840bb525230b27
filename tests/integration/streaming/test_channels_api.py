"""Channels: what they say of themselves, and keys that are replaced while somebody publishes."""

from uuid import uuid4

import pytest

from tests.integration.streaming.asking import Asking
from tests.integration.streaming.studio import Studio, User

ADA, BOB = User("ada"), User("bob")


@pytest.fixture
def ask(studio: Studio) -> Asking:
    return Asking(studio)


async def test_a_profile_is_set_changed_and_seen_by_others(ask: Asking) -> None:
    assert await ask.problem("GET", "/api/channels/me", ADA) == (404, "channel-not-found")
    body = {
        "title": "Chess",
        "category": "Games",
        "description": " I play. ",
        "tags": ["E4", "e4"],
        "language": "pt-br",
        "visibility": "private",
    }
    status, own = await ask("PUT", "/api/channels/me", ADA, body=body)
    assert (status, own["description"], own["tags"], own["language"]) == (200, "I play.", ["e4"], "pt-BR")
    assert (own["visibility"], own["stream_key_made_at"], own["ban"]) == ("private", None, None)
    _, seen = await ask("GET", f"/api/channels/{ADA.user_id}", BOB)
    assert seen.keys() == own.keys() - {"visibility", "stream_key_made_at", "ban"}
    assert seen["description"] == "I play."
    untold: dict[str, object] = {"title": "ada is live", "category": None, "tags": [], "language": None}
    assert {name: seen[name] for name in untold} == untold, "nobody else hears of what will be hidden"
    for visibility, told in (("unlisted", untold), ("public", {name: own[name] for name in untold})):
        await ask("PATCH", "/api/channels/me", ADA, body={"visibility": visibility})
        _, seen = await ask("GET", f"/api/channels/{ADA.user_id}", BOB)
        assert {name: seen[name] for name in untold} == told, visibility
    await ask("PATCH", "/api/channels/me", ADA, body={"visibility": "private"})
    # a client of before, which knows of title and category only, does not make the next stream public
    _, own = await ask("PUT", "/api/channels/me", ADA, body={"title": "Go"})
    assert (own["title"], own["category"], own["visibility"], own["tags"]) == ("Go", None, "private", ["e4"])
    _, own = await ask("PATCH", "/api/channels/me", ADA, body={"description": None, "title": None})
    assert (own["title"], own["description"], own["language"]) == ("ada is live", None, "pt-BR")
    stream_id = await ask.go_live(ADA)
    [started] = await ask.studio.said("stream.started")
    assert (started["stream_id"], started["visibility"], started["tags"]) == (stream_id, "private", ["e4"])


async def test_bad_input_is_refused_by_field(ask: Asking) -> None:
    bad: list[tuple[str, object]] = [
        ("title", ""),
        ("title", "x" * 141),
        ("category", "x" * 51),
        ("category", 1),
        ("description", "x" * 2001),
        ("description", ""),
        ("tags", None),
        ("tags", ["x"] * 11),
        ("tags", ["a\u0000b"]),
        ("language", "klingon!"),
        ("visibility", None),
        ("visibility", "hidden"),
        ("name", "eve"),
    ]
    for name, value in bad:
        for method in ("PUT", "PATCH"):
            status, problem = await ask(method, "/api/channels/me", ADA, body={"title": "x", name: value})
            assert status == 422, (method, name, value)
            assert problem["errors"][0]["field"].startswith("body")
    assert (await ask("PATCH", "/api/channels/me", ADA, body={}))[0] == 422
    for method in ("PUT", "PATCH"):
        assert (await ask(method, "/api/channels/me", body={"title": "x"}))[0] == 401
    assert (await ask("GET", "/api/channels/me"))[0] == 401
    assert (await ask("GET", "/api/channels/nobody"))[0] == 422
    assert (await ask("DELETE", f"/api/channels/{uuid4()}/ban"))[0] == 401


async def test_who_publishes_with_the_old_key_goes_on_until_they_stop(ask: Asking) -> None:
    old = await ask.key(ADA)
    stream_id = await ask.go_live(ADA, old)
    new = await ask.key(ADA)
    assert await ask.studio.alive(old) == 200
    assert (await ask.studio.publish(old, 2))[0] == 403, "nobody begins with it any more"
    assert await ask.studio.alive(old) == 200
    assert await ask.studio.gone(old) == 200
    assert (await ask.studio.publish(old, 3))[0] == 403, "nor comes back"
    assert await ask.studio.publish(new, 4) == (302, stream_id)
    assert await ask.studio.alive(old) == 403
