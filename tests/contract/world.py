"""A whole system in one process with two people in it, of whom one owns one of everything that an address can name."""

import base64
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.local.credentials import p256_private_key
from tests.contract.bad_values import NOTHING
from tests.engines import Database
from tests.integration.chat.extras_world import picture
from tests.integration.solo.running import Solo, running_solo
from tests.integration.streaming.publisher import eventually
from tests.unit.solo.test_solo_settings import NEEDED

PASSWORD = "correct horse"
MANY = "100000"
_HOOK = "app=live&flashver=FMLE/3.0&swfurl=&tcurl=rtmp://127.0.0.1/live&pageurl=&addr=127.0.0.1&clientid=1"


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    user_id: str
    username: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What says so."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class World:
    """The process, its people, and what the owner has: `things` by the name of the path's parameter."""

    solo: Solo
    address: dict[str, str]
    """Headers that give the tests an address of their own: limits of an address are counted in a shared Redis."""
    session: aiohttp.ClientSession
    database: Database
    people: dict[str, Person] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> Person:
        """Whose all things are."""
        return self.people["owner"]

    @property
    def stranger(self) -> Person:
        """Somebody else."""
        return self.people["stranger"]

    def path_values(self, path: str) -> dict[str, str]:
        """For each parameter of an endpoint's path what the owner has of it."""
        values = dict(self.things)
        if path.startswith("/api/archives/"):
            values["stream_id"] = self.things["recorded_id"]
        if path.startswith("/api/users/"):
            values["user_id"] = self.stranger.user_id if "/blocks/" in path else self.owner.user_id
        return values

    def mistakes(self) -> list[dict[str, Any]]:
        """What the process logged of requests that it could not answer."""
        return [line for line in self.solo.said("request_failed") if line["status"] == 500]

    async def asked(self, method: str, path: str, body: object = None, *, who: str = "owner") -> dict[str, Any]:
        """The answer to a request that has to work."""
        headers = self.people[who].headers if who in self.people else {}
        content = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with self.session.request(method, path, headers=headers, **content) as answer:
            text = await answer.text()
            assert answer.status < 300, (method, path, answer.status, text)
            found: dict[str, Any] = json.loads(text) if text else {}
            return found

    async def execute(self, statement: str, *values: object) -> str | None:
        """Behind the process: the first value of a statement's answer, if it has one."""
        connection = await asyncpg.connect(self.database.url)
        try:
            answer: str | None = await connection.fetchval(statement, *values)
            return answer
        finally:
            await connection.close()


def solo_settings(database: Database, redis_url: str, directory: Path) -> dict[str, str]:
    """A process with all of its services on, whose limits are out of the way."""
    for name in ("hls", "hooked"):
        (directory / name).mkdir()
    return NEEDED | {
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_REDIS_URL": redis_url,
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_LIMIT_API_PER_MINUTE": MANY,
        "LIVESTREAM_LIMIT_LOGINS_PER_MINUTE": MANY,
        "LIVESTREAM_LIMIT_STREAM_CREATIONS_PER_HOUR": MANY,
        "LIVESTREAM_ACCOUNTS_ACCESS_TOKEN_SECONDS": "840",  # the most: all tests of a module have the same tokens
        "LIVESTREAM_STREAMING_SILENCE_SECONDS": "3600",  # the stream that nobody sends is on to the end
        "LIVESTREAM_STREAMING_PLAYBACK_SECRET": "p" * 32,
        "LIVESTREAM_NOTIFY_REDIS_PREFIX": database.name,
        "LIVESTREAM_NOTIFY_SEALING_SECRET": "A" * 43,
        "LIVESTREAM_NOTIFY_VAPID_PRIVATE_KEY": p256_private_key(),
        "LIVESTREAM_NOTIFY_OUTBOUND_ALLOW": '["127.0.0.0/8"]',
        "LIVESTREAM_NOTIFY_SMTP_HOST": "127.0.0.1",
        "LIVESTREAM_NOTIFY_SMTP_PORT": "1",
        "LIVESTREAM_NOTIFY_SMTP_TLS": "none",
        "LIVESTREAM_NOTIFY_SMTP_FROM": "LiveStream <live@example.org>",
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(directory / "recordings"),
        "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(directory / "work"),
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(directory / "hls"),
        "LIVESTREAM_ARCHIVE_SEGMENT_HOOK_SECRET": "s" * 32,
        "LIVESTREAM_ARCHIVE_SEGMENT_HOOK_ROOT": str(directory / "hooked"),
        "LIVESTREAM_CHAT_EMOTE_DIRECTORY": str(directory / "emotes"),
    }


@asynccontextmanager
async def open_world(database: Database, redis_url: str, directory: Path) -> AsyncIterator[World]:
    """Start the process, register the people, and make one of everything."""
    dice = random.Random(database.name)
    address = {"X-Forwarded-For": f"198.18.{dice.randrange(256)}.{dice.randrange(1, 255)}"}
    settings = solo_settings(database, redis_url, directory)
    async with running_solo(settings, directory / "solo.log") as solo:
        await solo.ready()
        async with aiohttp.ClientSession(solo.url, headers=address, cookie_jar=aiohttp.DummyCookieJar()) as session:
            world = World(solo, address, session, database)
            for name in ("owner", "stranger"):
                world.people[name] = await _registered(world, name)
            await _furnish(world)
            yield world


async def _registered(world: World, name: str) -> Person:
    said = {"username": f"{name}_1", "password": PASSWORD}
    user_id = (await world.asked("POST", "/api/auth/register", said, who="nobody"))["user_id"]
    token = (await world.asked("POST", "/api/auth/login", said, who="nobody"))["access_token"]
    return Person(user_id, said["username"], token)


async def _furnish(world: World) -> None:
    channel_id = world.owner.user_id
    key = (await world.asked("POST", "/api/channels/me/stream-key"))["stream_key"]
    recorded = await _recorded(world, key)
    room = f"/api/chat/{channel_id}"
    await world.asked("PUT", f"/api/users/{channel_id}/followers/me", who="stranger")
    hook = await world.asked("POST", "/api/webhooks", {"url": "http://127.0.0.1:1/hook"})
    poll = await world.asked("POST", f"{room}/polls", {"question": "Which?", "options": ["a", "b"], "seconds": 600})
    emote = await world.asked("POST", f"{room}/emotes?name=Wave", picture())
    term = await world.asked("POST", f"{room}/blocked-terms", {"term": "bad words"})
    world.things = {
        "channel_id": channel_id,
        "user_id": world.stranger.user_id,
        "username": world.owner.username,
        "stream_id": (await world.asked("POST", "/api/streams", {"title": "To come"}))["stream_id"],
        "recorded_id": recorded,
        "session_id": (await world.asked("GET", "/api/auth/sessions"))["sessions"][0]["session_id"],
        "subscription_id": (await world.asked("POST", "/api/notifications/push", push_subscription()))[
            "subscription_id"
        ],
        "webhook_id": hook["webhook_id"],
        "poll_id": poll["poll_id"],
        "password_id": (await world.asked("POST", "/api/chat/irc-passwords", {"name": "client"}))["password_id"],
        "emote_id": emote["emote_id"],
        "name": "Wave",
        "language": "en",
        "term_id": term["term_id"],
        "fanout_id": await _fanout(world),
        "message_id": NOTHING,
        "held_id": NOTHING,
        "secret": "s" * 32,
        "stream": recorded,
        "recording": recorded,
    }


async def _recorded(world: World, key: str) -> str:
    """A stream that is on, and that the archive has heard of."""
    async with world.session.post(
        f"/hooks/ingest/nginx-rtmp/{'s' * 32}",
        data=f"{_HOOK}&call=publish&name={key}&type=live".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        allow_redirects=False,
    ) as answer:
        assert answer.status == 302, await answer.text()
        stream_id = answer.headers["Location"].rpartition("/")[2]

    async def status() -> int:
        async with world.session.get(f"/api/archives/{stream_id}", headers=world.owner.headers) as found:
            return found.status

    await eventually(status, until=lambda known: known == 200, what="the archive has not heard of the stream")
    return stream_id


async def _fanout(world: World) -> str:
    async def fanouts() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await world.asked("GET", "/api/fanouts"))["items"]
        return items

    def is_over(found: list[dict[str, Any]]) -> bool:
        """What is left of it would come between two looks of a test."""
        return bool(found) and found[0]["state"] == "completed"

    found = await eventually(fanouts, until=is_over, what="nobody is told of the stream")
    return str(found[0]["fanout_id"])


def push_subscription() -> Mapping[str, object]:
    """What a browser sends."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    p256dh = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {
        "endpoint": "http://127.0.0.1:1/push",
        "keys": {"p256dh": _base64(p256dh), "auth": _base64(b"a" * 16)},
    }


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
