"""Private recordings: only whoever was let in plays them, through a real edge, and no log or URL has the secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest

from archive.library.access import GRANTS_MAX, Access, PlaybackChecks
from archive.library.access_api import AccessApi
from archive.library.owners_api import LibraryApi
from archive.objects.keys import SEGMENT
from deploy.local import Stack
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.objects_disk import DiskObjects
from runtime.settings import HttpSettings
from tests.contract.held_client import HeldClient, held_client
from tests.integration.archive.callers import ADA, BOB, Tokens
from tests.integration.archive.house import House, running
from tests.integration.edge import Answer, ask


def apis(house: House) -> list[object]:
    access = Access(house.pool)
    return [
        LibraryApi(house.recordings, house.outbox, playback_path="/recordings", undo_seconds=604_800),
        AccessApi(house.recordings, access, playback_path="/recordings", access_seconds_max=43_200),
    ]


@pytest.fixture
async def client(house: House) -> AsyncIterator[HeldClient]:
    declared = apis(house)
    async with held_client(HttpServer(declared, settings=HttpSettings(), verifier=Tokens()), declared) as held:
        yield held


async def made(house: House, visibility: str = "private") -> UUID:
    stream_id = await house.started()
    await house.ended(stream_id)
    await house.pool.execute("update recordings set visibility = $2 where stream_id = $1", stream_id, visibility)
    return stream_id


async def test_a_grant_becomes_a_cookie_of_one_recording(client: HeldClient, house: House) -> None:
    stream_id = await made(house)
    path = f"/api/archives/{stream_id}/access"
    given = await client.post(path, token=ADA.token, json={"seconds": 60})
    assert given.status == 201
    assert given.body["playback_url"] == f"/recordings/{stream_id}/master.m3u8"
    for origin, secure in (("http://localhost:8080", False), ("https://live.example", True)):
        used = await client.put(path, json={"grant": given.body["grant"]}, headers={"Origin": origin})
        cookie = used.headers["Set-Cookie"]
        assert used.status == 204
        assert cookie.startswith(f"livestream_playback={given.body['grant']};")
        assert {"HttpOnly", f"Path=/recordings/{stream_id}/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert ("Secure" in cookie.split("; ")) is secure
    kept = await house.pool.fetchval("select string_agg(encode(grant_sha256, 'escape'), '') from playback_grants")
    assert given.body["grant"] not in kept


async def test_what_is_no_grant_or_asks_too_much_is_refused(client: HeldClient, house: House) -> None:
    path = f"/api/archives/{await made(house)}/access"
    for body, status in (
        ({"grant": ""}, 404),
        ({"grant": "x" * 43}, 404),
        ({"grant": "é" * 43}, 404),
        ({"grant": "x" * 65}, 422),
        ({"grant": 7}, 422),
        ({}, 422),
    ):
        answer = await client.put(path, json=body)
        assert answer.status == status, body
        assert "Set-Cookie" not in answer.headers
    for refused in ({"seconds": 0}, {"seconds": 43_201}, {"seconds": "60"}, {"seconds": 1.5}, {"for_ever": True}):
        assert (await client.post(path, json=refused, token=ADA.token)).status == 422, refused


async def test_only_the_owner_gives_and_takes_access(client: HeldClient, house: House) -> None:
    private, unlisted = await made(house), await made(house, "unlisted")
    for token, stream_id, status in (
        (None, private, 401),
        (BOB.token, private, 404),
        (BOB.token, unlisted, 403),
        (ADA.token, uuid7(), 404),
    ):
        for method in ("POST", "DELETE"):
            answer = await client.request(method, f"/api/archives/{stream_id}/access", token=token)
            assert answer.status == status, (method, token)


async def test_a_grant_is_of_its_recording_until_it_expires_or_is_taken_back(house: House) -> None:
    access = Access(house.pool)
    one, other = await made(house), await made(house)
    grant = await access.grant(one, seconds=60)
    assert await access.playable(one, grant.token) == "private"
    assert await access.playable(other, grant.token) is None
    assert await access.playable(one, None) is None
    await house.pool.execute("update playback_grants set expires_at = now()")
    assert await access.playable(one, grant.token) is None
    assert await access.expiry(one, grant.token) is None
    again = await access.grant(one, seconds=60)
    assert await access.revoke(one) == 2
    assert await access.playable(one, again.token) is None


async def test_a_recording_has_so_many_grants_and_the_oldest_go_first(house: House) -> None:
    stream_id, access = await made(house), Access(house.pool)
    grants = [await access.grant(stream_id, seconds=3_600) for _ in range(GRANTS_MAX + 2)]
    assert [await access.playable(stream_id, grant.token) for grant in grants[:3]] == [None, None, "private"]
    assert await access.playable(stream_id, grants[-1].token) == "private"


async def test_the_edge_plays_what_its_viewer_may_see(house: House, own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("nginx", profile="solo")
    served = [*apis(house), PlaybackChecks(Access(house.pool))]
    settings = HttpSettings(http_port=stack.ports["solo"])
    public, unlisted, private, deleted = [
        await made(house, visibility) for visibility in ("public", "unlisted", "private", "public")
    ]
    async with DiskObjects(Path(stack.environment()["LIVESTREAM_ARCHIVE_DISK_DIRECTORY"])) as objects:
        for stream_id in (public, unlisted, private, deleted):
            await objects.put_bytes(f"{stream_id}/source/0.ts", b"0123456789", SEGMENT)

    async def asked(path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        return await asyncio.to_thread(ask, stack.ports["edge"], path, method=method, headers=headers, body=body)

    async def plays(stream_id: UUID, cookie: str = "") -> int:
        return (await asked(f"/recordings/{stream_id}/source/0.ts", headers={"Cookie": cookie})).status

    bearer = {"Authorization": f"Bearer {ADA.token}"}
    server = HttpServer(served, settings=settings, verifier=Tokens())
    async with running(server):
        await server.listening()
        assert (await asked(f"/api/archives/{deleted}", method="DELETE", headers=bearer)).status == 200
        assert [await plays(one) for one in (public, unlisted, private, deleted)] == [200, 200, 404, 404]
        grant = (await Access(house.pool).grant(private, seconds=3_600)).token
        body = f'{{"grant": "{grant}"}}'.encode()
        used = await asked(
            f"/api/archives/{private}/access", method="PUT", headers={"Content-Type": "application/json"}, body=body
        )
        cookie = used.headers["set-cookie"].split(";")[0]
        assert await plays(private, cookie) == 200
        assert await plays(private, "livestream_playback=" + "x" * 43) == 404
        assert await plays(deleted, cookie) == 404
        assert await plays(uuid7()) == 404
    log = stack.log("nginx").read_text()
    assert str(private) in log
    assert grant not in log
