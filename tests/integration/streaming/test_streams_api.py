"""The streams' and channels' API: what anybody may see, what only the streamer may do; held to the OpenAPI document."""

from typing import Any
from uuid import uuid4

from runtime.openapi import openapi_document
from streaming.channels.api import Channels
from streaming.servers.media_server import Publisher
from streaming.streams.api import Streams
from tests.contract.held_client import HeldClient
from tests.integration.streaming.studio import MediaServerTwin, Studio, User

DOCUMENT = openapi_document("under test", [Channels, Streams])


async def request(
    studio: Studio,
    method: str,
    path: str,
    user: User | None = None,
    *,
    body: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> tuple[int, Any]:
    headers = user.headers if user else {}
    held = HeldClient(studio.client, DOCUMENT)
    answer = await held.request(method, path, headers=headers, json=body, params=query)
    return answer.status, answer.body


async def go_live(studio: Studio, user: User) -> tuple[str, str]:
    """A stream of the user's: its id and the stream key."""
    status, made = await request(studio, "POST", "/api/channels/me/stream-key", user)
    assert status == 201
    key: str = made["stream_key"]
    _, stream_id = await studio.publish(key)
    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.publishing = [Publisher(client, None) for client in ("1", "2")]
    return stream_id, key


async def test_a_key_is_shown_once_and_works_until_it_is_replaced(studio: Studio) -> None:
    ada = User("ada")
    _, first = await request(studio, "POST", "/api/channels/me/stream-key", ada)
    assert first["ingest_url"] == "rtmp://127.0.0.1:1935/live"
    assert (await studio.publish(first["stream_key"]))[0] == 302
    _, second = await request(studio, "POST", "/api/channels/me/stream-key", ada)
    assert second["stream_key"] != first["stream_key"]
    assert (await studio.publish(first["stream_key"], 2))[0] == 403
    assert (await studio.publish(second["stream_key"], 3))[0] == 302
    assert await studio.alive(second["stream_key"], 3) == 200
    assert await studio.alive(first["stream_key"], 1) == 403
    stored = await studio.rows("SELECT channels::text AS text FROM channels")
    assert first["stream_key"] not in stored[0]["text"] and second["stream_key"] not in stored[0]["text"]


async def test_a_channel_is_its_streamers(studio: Studio) -> None:
    ada, bob = User("ada"), User("bob")
    status, channel = await request(studio, "PUT", "/api/channels/me", ada, body={"title": "Chess"})
    assert (status, channel["title"], channel["channel_id"]) == (200, "Chess", str(ada.user_id))
    await request(studio, "PUT", "/api/channels/me", bob, body={"title": "Go"})
    _, seen = await request(studio, "GET", f"/api/channels/{ada.user_id}", bob)
    assert seen["title"] == "Chess"
    stream_id, _ = await go_live(studio, ada)
    assert (await studio.stream(stream_id))["title"] == "Chess"
    _, seen = await request(studio, "GET", f"/api/channels/{ada.user_id}")
    assert seen["stream_id"] == stream_id


async def test_a_category_goes_with_the_next_stream_and_into_its_event(studio: Studio) -> None:
    ada = User("ada")
    for body, category in (
        ({"title": "Sicilian", "category": " Chess "}, "Chess"),
        ({"title": "Sicilian"}, None),
        ({"title": "Sicilian", "category": "Chess"}, "Chess"),
    ):
        status, channel = await request(studio, "PUT", "/api/channels/me", ada, body=body)
        assert (status, channel["category"]) == (200, category)
    stream_id, _ = await go_live(studio, ada)
    await request(studio, "PUT", "/api/channels/me", ada, body={"title": "Later", "category": "Go"})
    assert (await studio.stream(stream_id))["category"] == "Chess"
    _, listed = await request(studio, "GET", "/api/streams")
    assert [item["category"] for item in listed["items"]] == ["Chess"]
    [started] = await studio.said("stream.started")
    assert started["category"] == "Chess"


async def test_a_category_has_bounds(studio: Studio) -> None:
    for category in ("", "   ", "x" * 51, "a\0b"):
        body = {"title": "x", "category": category}
        status, problem = await request(studio, "PUT", "/api/channels/me", User("ada"), body=body)
        assert status == 422
        assert problem["errors"][0]["field"] in ("body.category", "body")


async def test_a_title_has_bounds(studio: Studio) -> None:
    for title in ("", "   ", "x" * 141):
        status, problem = await request(studio, "PUT", "/api/channels/me", User("ada"), body={"title": title})
        assert status == 422
        assert problem["errors"][0]["field"] == "body.title"


async def test_who_is_not_logged_in_may_only_look(studio: Studio) -> None:
    stream_id, _ = await go_live(studio, User("ada"))
    assert (await request(studio, "POST", "/api/channels/me/stream-key"))[0] == 401
    assert (await request(studio, "PUT", "/api/channels/me", body={"title": "x"}))[0] == 401
    assert (await request(studio, "POST", f"/api/streams/{stream_id}/end"))[0] == 401
    assert (await request(studio, "GET", "/api/streams"))[0] == 200
    assert (await request(studio, "GET", f"/api/streams/{stream_id}"))[0] == 200


async def test_only_the_streamer_may_end_a_stream(studio: Studio) -> None:
    ada, bob = User("ada"), User("bob")
    stream_id, _ = await go_live(studio, ada)
    status, problem = await request(studio, "POST", f"/api/streams/{stream_id}/end", bob)
    assert (status, problem["type"]) == (403, "urn:livestream:problem:not-your-stream")
    assert (await studio.stream(stream_id))["status"] == "live"
    assert isinstance(studio.media_server, MediaServerTwin)
    assert studio.media_server.dropped == []


async def test_ending_drops_the_publisher_and_says_so_once(studio: Studio) -> None:
    ada = User("ada")
    stream_id, key = await go_live(studio, ada)
    status, view = await request(studio, "POST", f"/api/streams/{stream_id}/end", ada)
    assert (status, view["status"], view["end_reason"]) == (200, "ended", "streamer")
    assert isinstance(studio.media_server, MediaServerTwin)
    assert [session.client for session in studio.media_server.dropped] == ["1"]
    assert await studio.gone(key) == 200
    assert await request(studio, "POST", f"/api/streams/{stream_id}/end", ada) == (200, view)
    assert await studio.alive(key) == 403
    [ended] = await studio.said("stream.ended")
    assert (ended["reason"], ended["ended_at"]) == ("streamer", view["ended_at"])


async def test_the_end_is_said_after_the_publisher_is_gone_whose_farewell_changes_nothing(studio: Studio) -> None:
    ada = User("ada")
    stream_id, key = await go_live(studio, ada)
    seen: list[object] = []

    async def farewell() -> None:
        seen.append(await studio.said("stream.ended"))
        seen.append(await studio.gone(key))
        seen.append((await studio.stream(stream_id))["status"])

    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.while_closing = farewell
    _, view = await request(studio, "POST", f"/api/streams/{stream_id}/end", ada)
    assert seen == [[], 200, "interrupted"]
    assert (view["status"], view["end_reason"]) == ("ended", "streamer")
    assert len(await studio.said("stream.ended")) == 1


async def test_a_publisher_that_comes_back_while_its_stream_is_ended_is_dropped_too(studio: Studio) -> None:
    ada = User("ada")
    stream_id, key = await go_live(studio, ada)

    async def come_back() -> None:
        await studio.publish(key, 2)

    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.while_closing = come_back
    await request(studio, "POST", f"/api/streams/{stream_id}/end", ada)
    assert studio.media_server.dropped[-1].client == "2"
    assert await studio.alive(key, 2) == 403


async def test_a_stream_ends_even_if_the_media_server_is_away(studio: Studio) -> None:
    ada = User("ada")
    stream_id, _ = await go_live(studio, ada)
    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.away = True
    status, view = await request(studio, "POST", f"/api/streams/{stream_id}/end", ada)
    assert (status, view["status"]) == (200, "ended")


async def test_an_interrupted_stream_can_be_ended(studio: Studio) -> None:
    ada = User("ada")
    stream_id, key = await go_live(studio, ada)
    await studio.gone(key)
    assert (await request(studio, "POST", f"/api/streams/{stream_id}/end", ada))[1]["status"] == "ended"


async def test_what_does_not_exist_is_not_found(studio: Studio) -> None:
    ada = User("ada")
    status, problem = await request(studio, "GET", f"/api/streams/{uuid4()}")
    assert (status, problem["type"]) == (404, "urn:livestream:problem:stream-not-found")
    assert (await request(studio, "POST", f"/api/streams/{uuid4()}/end", ada))[0] == 404
    status, problem = await request(studio, "GET", f"/api/channels/{uuid4()}")
    assert (status, problem["type"]) == (404, "urn:livestream:problem:channel-not-found")


async def test_the_live_list_changes_with_starts_and_ends(studio: Studio) -> None:
    ada = User("ada")
    assert (await request(studio, "GET", "/api/streams"))[1] == {"items": [], "next_cursor": None}
    stream_id, key = await go_live(studio, ada)
    [item] = (await request(studio, "GET", "/api/streams"))[1]["items"]
    assert (item["stream_id"], item["channel_name"], item["status"]) == (stream_id, "ada", "live")
    assert item["playback_url"] == f"/live/{stream_id}/index.m3u8"
    await studio.gone(key)
    assert (await request(studio, "GET", "/api/streams"))[1]["items"][0]["status"] == "interrupted"
    await request(studio, "POST", f"/api/streams/{stream_id}/end", ada)
    assert (await request(studio, "GET", "/api/streams"))[1]["items"] == []


async def test_the_live_list_is_paged_without_gaps_or_repeats(studio: Studio) -> None:
    made = []
    for number in range(7):
        _, key = await studio.channel(f"channel{number}")
        made.append((await studio.publish(key, number))[1])
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        _, page = await request(studio, "GET", "/api/streams", query=query)
        seen += [item["stream_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    assert (await request(studio, "GET", "/api/streams", query={"cursor": "nonsense"}))[0] == 400
    assert (await request(studio, "GET", "/api/streams", query={"limit": "1000"}))[0] == 422
