"""Streams that are on: changed while they run, hidden from others, kicked, and let in to."""

import pytest

from tests.integration.streaming.asking import Asking
from tests.integration.streaming.studio import OPERATOR, MediaServerTwin, Studio, User

ADA, BOB, EVE = User("ada"), User("bob"), User(OPERATOR)


@pytest.fixture
def ask(studio: Studio) -> Asking:
    return Asking(studio)


async def test_a_change_is_said_once_and_shown_at_once(ask: Asking) -> None:
    stream_id = await ask.go_live(ADA)
    path = f"/api/streams/{stream_id}"
    assert await ask.titles() == ["ada is live"]
    change = {"title": "Chess", "tags": ["go", "chess"], "language": "de"}
    for _ in range(2):
        status, view = await ask("PATCH", path, ADA, body=change)
        assert (status, view["title"], view["tags"], view["language"]) == (200, "Chess", ["go", "chess"], "de")
    [updated] = await ask.studio.said("stream.updated")
    assert (updated["title"], updated["visibility"], updated["visibility_before"]) == ("Chess", "public", None)
    assert await ask.titles() == ["Chess"]
    await ask("POST", f"{path}/end", ADA)
    assert await ask.problem("PATCH", path, ADA, body={"title": "later"}) == (409, "stream-is-over")


async def test_only_the_streamer_changes_a_stream(ask: Asking) -> None:
    path = f"/api/streams/{await ask.go_live(ADA)}"
    assert (await ask("PATCH", path, body={"title": "x"}))[0] == 401
    for user in (BOB, EVE):
        assert await ask.problem("PATCH", path, user, body={"title": "x"}) == (403, "not-your-stream")
    assert await ask.studio.said("stream.updated") == []


async def test_what_is_hidden_is_in_no_list_but_its_streamers(ask: Asking) -> None:
    stream_id = await ask.go_live(ADA)
    path, own = f"/api/streams/{stream_id}", str(ADA.user_id)
    assert await ask.titles() == ["ada is live"]
    for visibility, status in (("unlisted", 200), ("private", 404)):
        await ask("PATCH", path, ADA, body={"visibility": visibility})
        for user in (None, BOB, ADA):
            assert await ask.titles(user) == []
        assert await ask.titles(BOB, channel_id=own) == await ask.titles(None, channel_id=own) == []
        assert await ask.titles(ADA, channel_id=own) == ["ada is live"]
        assert (await ask("GET", path))[0] == (await ask("GET", path, BOB))[0] == status
        _, seen = await ask("GET", path, ADA)
        assert (seen["visibility"], seen["playback_url"] is None) == (visibility, visibility == "private")
        assert (await ask("GET", f"/api/channels/{own}", BOB))[1]["stream_id"] is None
        assert (await ask("GET", "/api/channels/me", ADA))[1]["stream_id"] == stream_id
        assert (await ask("GET", "/api/categories"))[1] == {"items": []}
    assert await ask.problem("POST", f"{path}/end", BOB) == (404, "stream-not-found")
    befores = [said["visibility_before"] for said in await ask.studio.said("stream.updated")]
    assert befores == ["public", "unlisted"]
    await ask("POST", f"{path}/end", ADA)
    assert await ask.titles(BOB, channel_id=own, status="ended") == []
    assert await ask.titles(ADA, channel_id=own, status="ended") == ["ada is live"]


async def test_who_may_play_a_private_stream(ask: Asking) -> None:
    stream_id = await ask.go_live(ADA)
    path = f"/api/streams/{stream_id}"
    for user in (None, BOB, ADA):
        _, opened = await ask("POST", f"{path}/playback", user)
        assert (opened["playback_url"], opened["expires_at"]) == (f"/live/{stream_id}/index.m3u8", None)
    await ask("PATCH", path, ADA, body={"visibility": "private"})
    assert await ask.problem("POST", f"{path}/invitations", BOB) == (404, "stream-not-found")
    for minutes in (0, 10_081, "5", 1.5):
        assert (await ask("POST", f"{path}/invitations", ADA, body={"minutes": minutes}))[0] == 422
    _, made = await ask("POST", f"{path}/invitations", ADA, body={"minutes": 1})
    _, opened = await ask("POST", f"{path}/playback", BOB, body={"invitation": made["invitation"]})
    assert opened["playback_url"].startswith("/live/~")
    assert opened["expires_at"] == made["expires_at"], "no longer than the invitation"
    other = await ask.go_live(BOB, client=2)
    _, foreign = await ask("POST", f"/api/streams/{other}/invitations", BOB)
    for invitation in ("", "x", foreign["invitation"], made["invitation"][:-1], f"9{made['invitation'][1:]}"):
        answer = await ask.problem("POST", f"{path}/playback", BOB, body={"invitation": invitation})
        assert answer == (404, "stream-not-found"), invitation
    await ask("POST", f"{path}/end", ADA)
    assert await ask.problem("POST", f"{path}/playback", ADA) == (409, "stream-is-over")
    assert (await ask("POST", f"{path}/playback", BOB))[0] == 404


async def test_a_kick_drops_the_publisher_and_refuses_its_key(ask: Asking) -> None:
    key = await ask.key(ADA)
    stream_id = await ask.go_live(ADA, key)
    path = f"/api/streams/{stream_id}"
    assert (await ask("POST", f"{path}/kick", body={"seconds": 60}))[0] == 401
    assert await ask.problem("POST", f"{path}/kick", BOB, body={"seconds": 60}) == (403, "not-your-stream")
    for seconds in (59, 1_209_601, "60", 60.5, True):
        assert (await ask("POST", f"{path}/kick", ADA, body={"seconds": seconds}))[0] == 422
    assert (await ask("POST", f"{path}/kick", ADA, body={}))[0] == 422
    body = {"seconds": 3600, "reason": "wrong scene"}
    _, view = await ask("POST", f"{path}/kick", ADA, body=body)
    assert (view["status"], view["end_reason"]) == ("ended", "kicked")
    assert isinstance(ask.studio.media_server, MediaServerTwin)
    [ended] = await ask.studio.said("stream.ended")
    assert ended["reason"] == "kicked"
    assert (await ask.studio.publish(key, 2))[0] == (await ask.studio.alive(key)) == 403
    _, channel = await ask("GET", "/api/channels/me", ADA)
    assert (channel["ban"]["banned_by"], channel["ban"]["reason"]) == ("streamer", "wrong scene")
    assert "ban" not in (await ask("GET", f"/api/channels/{ADA.user_id}", BOB))[1]
    # a new key ends a ban of one's own
    again = await ask.go_live(ADA)
    await ask("POST", f"/api/streams/{again}/end", ADA)
    assert await ask.problem("POST", f"/api/streams/{again}/kick", ADA, body=body) == (409, "stream-is-over")


async def test_an_operators_ban_holds_until_an_operator_lifts_it(ask: Asking) -> None:
    stream_id = await ask.go_live(ADA)
    await ask("PATCH", f"/api/streams/{stream_id}", ADA, body={"visibility": "private"})
    _, view = await ask("POST", f"/api/streams/{stream_id}/kick", EVE, body={"seconds": None})
    assert view["end_reason"] == "kicked"
    key, ban = await ask.key(ADA), f"/api/channels/{ADA.user_id}/ban"
    assert (await ask.studio.publish(key))[0] == 403
    assert (await ask("GET", "/api/channels/me", ADA))[1]["ban"]["banned_until"] is None
    assert await ask.problem("DELETE", ban, BOB) == (403, "not-your-channel")
    assert await ask.problem("DELETE", ban, ADA) == (403, "banned-by-operator")
    assert (await ask("DELETE", ban, EVE))[0] == (await ask("DELETE", ban, EVE))[0] == 204
    stream_id = await ask.go_live(ADA, key)
    assert (await ask("POST", f"/api/streams/{stream_id}/end", EVE))[1]["end_reason"] == "kicked"
    await ask("POST", f"/api/streams/{await ask.go_live(ADA, key)}/kick", ADA, body={"seconds": 60})
    assert (await ask("DELETE", ban, ADA))[0] == 204
    await ask.go_live(ADA, key)


async def test_a_ban_that_comes_while_a_publisher_is_on_reaches_it_at_its_next_sign_of_life(ask: Asking) -> None:
    key = await ask.key(ADA)
    await ask.go_live(ADA, key)
    assert await ask.studio.alive(key) == 200
    await ask.studio.rows(
        "INSERT INTO channel_bans VALUES ($1, 'operator', now() + interval '1 h', null, $1) RETURNING 1", ADA.user_id
    )
    assert await ask.studio.alive(key) == (await ask.studio.publish(key, 2))[0] == 403
