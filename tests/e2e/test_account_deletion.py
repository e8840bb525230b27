"""A streamer deletes the account while live: within seconds nothing is left of them in any service."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis

from console.demo.people import Origin, Person
from console.demo.verb import place_of
from deploy.local import PROFILES, Stack
from runtime.migrations import SCHEMAS
from runtime.postgres import Pool
from tests.conftest import StackMaker
from tests.integration.remains import keys_that_say, tables_that_say
from tests.integration.streaming.publisher import eventually, publishing

pytestmark = [pytest.mark.timeout(180), pytest.mark.heavy]

PASSWORD = "correct horse battery staple 77"
NAME = "marker_erased_7"
ERASED_SECONDS_MAX = 60
HLS_SECONDS_MAX = 40
"""The shipper looks for what is gone every ten seconds."""
ERASING = ("streaming", "chat", "notify", "archive")


@pytest.fixture
async def origin() -> AsyncIterator[aiohttp.ClientSession]:
    """An outsider's HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def register(origin: Origin, username: str) -> Person:
    """A person whose password the test knows."""
    body = {"username": username, "password": PASSWORD}
    made = await origin.call("POST", "/api/auth/register", body=body, status=201)
    login = await origin.call("POST", "/api/auth/login", body=body)
    return Person(UUID(made["user_id"]), username, login["access_token"], login["refresh_token"])


async def say(origin: Origin, person: Person, room: UUID, text: str) -> None:
    """Say one thing in a room, and wait until it is in its log."""
    async with origin.session.ws_connect(f"{origin.url}/chat") as socket:
        await socket.send_json({"type": "join", "room": str(room), "token": person.access_token})
        assert (await socket.receive_json(timeout=30))["type"] == "joined"
        await socket.send_json({"type": "send", "id": "1", "text": text})

    async def logged() -> bool:
        page = await origin.call("GET", f"/api/chat/{room}/messages")
        return any(one["text"] == text for one in page["items"])

    await eventually(logged, until=bool, what="not in the log")


async def live(origin: Origin, person: Person) -> dict[str, Any]:
    """The stream of a person that is on."""

    async def look() -> list[dict[str, Any]]:
        listed = await origin.call("GET", "/api/streams")
        return [one for one in listed["items"] if one["channel_id"] == str(person.user_id)]

    return (await eventually(look, until=bool, what="not live"))[0]


async def lead_a_life(origin: Origin, gone: Person, other: Person, hls: Path) -> UUID:
    """Follow and be followed, say things here and there, and be recorded; the id of the stream that is on."""
    for who, whom in ((gone, other), (other, gone)):
        path = f"/api/users/{whom.user_id}/followers/me"
        await eventually(partial(follows, origin, who, path), until=bool, what="not followed")
    await say(origin, gone, other.user_id, "from the marker")
    await say(origin, other, gone.user_id, f"hello @{NAME}")
    stream = UUID((await live(origin, gone))["stream_id"])

    async def shipped() -> int:
        page = await origin.call("GET", f"/api/archives/{stream}", person=gone)
        return len(list((hls / str(stream)).glob("*.ts"))) if page else 0

    await eventually(shipped, until=lambda segments: segments >= 2, seconds_max=30, what="no segments")
    return stream


async def follows(origin: Origin, who: Person, path: str) -> bool:
    """Follow; False while notify has not heard of the other yet."""
    async with origin.session.put(origin.url + path, headers=who.headers) as answer:
        return answer.ok


def names_of(directory: Path, *marks: object) -> list[str]:
    """Files whose path has any of some texts."""
    paths = [str(path) for path in directory.rglob("*") if path.is_file()]
    return [path for path in paths if any(str(mark) in path for mark in marks)]


async def still_erasing(database: Pool) -> list[str]:
    """The services that something is left in."""
    statements = {one: f"SELECT bool_or(erased_at IS NOT NULL) FROM {one}.erasures" for one in ERASING}  # noqa: S608  our own names
    return [one for one, statement in statements.items() if not await database.fetchval(statement)]


async def test_nothing_is_left_of_a_deleted_account(own_stack: StackMaker, origin: aiohttp.ClientSession) -> None:
    stack: Stack = own_stack(*PROFILES["solo"].parts, profile="solo")
    environment, outside = stack.environment(), Origin(origin, place_of(stack).public_url)
    hls, objects = (Path(environment[f"LIVESTREAM_ARCHIVE_{name}_DIRECTORY"]) for name in ("HLS", "DISK"))
    gone, other = await register(outside, NAME), await register(outside, "someone_else")
    key = await outside.call("POST", "/api/channels/me/stream-key", person=gone, status=201)
    async with (
        asyncpg.create_pool(environment["LIVESTREAM_POSTGRES_DSN"], min_size=1, max_size=1) as database,
        Redis.from_url(environment["LIVESTREAM_REDIS_URL"]) as redis,
        publishing(f"{key['ingest_url']}/{key['stream_key']}") as publisher,
    ):
        stream = await lead_a_life(outside, gone, other, hls)
        marks = (gone.user_id, NAME)
        assert await tables_that_say(database, "chat", *marks)
        await eventually(lambda: asyncio.to_thread(names_of, objects, stream), until=bool, what="nothing is shipped")
        await outside.call("DELETE", "/api/users/me", person=gone, body={"password": PASSWORD}, status=None)
        await eventually(
            lambda: still_erasing(database),
            until=lambda left: not left,
            seconds_max=ERASED_SECONDS_MAX,
            what="something is left in",
        )
        async with asyncio.timeout(30):
            await publisher.wait()
        found = {one: await tables_that_say(database, one, *marks) for one in SCHEMAS if one != "bus"}
        assert found == {one: set() for one in found}
        # an hour: whom a room has announced as a follower
        assert await keys_that_say(redis, *marks, ending_seconds=3_600) == []
    assert names_of(objects, *marks, stream) == []
    await outside.call("GET", f"/api/streams/{stream}", status=404)
    page = await outside.call("GET", f"/api/chat/{other.user_id}/messages")
    assert page["items"] == []
    await eventually(
        lambda: asyncio.to_thread(names_of, hls, stream), until=lambda names: not names, seconds_max=HLS_SECONDS_MAX
    )
