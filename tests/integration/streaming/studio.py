"""Streaming on a real database, with its HTTP surface served and everything around it in the test's hand."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from redis.asyncio import Redis

from eventbus.outbox import Outbox
from runtime.http_server import HttpServer
from runtime.postgres import Pool, open_pool
from runtime.read_pool import ReadPool
from runtime.redis_batches import RedisBatches
from runtime.settings import HttpSettings, PostgresSettings
from runtime.tokens import Caller, InvalidToken
from streaming.channels.api import Channels
from streaming.channels.bans import Bans
from streaming.channels.keys import digest, make_key
from streaming.errors import MediaServerUnavailable
from streaming.ingest.commands import Dialect, Session
from streaming.ingest.hooked_servers import HookedServer, HookedServers, SettledSecrets
from streaming.ingest.hooks import HookRules, IngestHooks
from streaming.lifecycle.publishing import Publishing
from streaming.lifecycle.reaper import Reaper
from streaming.reads.livelist import LiveList
from streaming.servers.media_server import MediaServer, MediaServers, Publisher
from streaming.streams.api import Streams
from streaming.streams.changing import Changing
from streaming.streams.finding import Finding
from streaming.streams.lists import StreamsQuery, read_streams
from streaming.streams.playback import PlaybackSigner
from streaming.streams.playback_api import Playback, PlaybackChecks
from streaming.streams.preparing import Preparing
from streaming.streams.views import LiveStreamsPage
from streaming.viewers.audience import Audience
from streaming.viewers.counts import ViewerCounts

SERVER = "nginx-rtmp"
SECRET = "a-secret-of-the-tests"
PLAYBACK_SECRET = "another-secret-of-the-tests"
PLAYBACK_SECONDS = 600
CLOSE_SECONDS_MAX = 10
"""More than a busy machine takes for what happens while a stream is closed."""
OPERATOR = "operator"
PUSH_URL = "rtmp://127.0.0.1:1935/hls"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Client = TestClient[web.Request, web.Application]


class MediaServerTwin:
    """A media server that remembers whom it was told to drop."""

    def __init__(self) -> None:
        self.dropped: list[Session] = []
        self.away = False
        self.while_closing: Callable[[], Awaitable[None]] | None = None
        self.publishing: list[Publisher] = []

    async def drop(self, session: Session) -> bool:
        if self.away:
            raise MediaServerUnavailable("drop", "away")
        self.dropped.append(session)
        return True

    async def wait_closed(self, stream_id: UUID) -> bool:
        if self.while_closing is not None:
            await self.while_closing()
        return not self.away

    async def publishers(self) -> list[Publisher]:
        if self.away:
            raise MediaServerUnavailable("publishers", "away")
        return list(self.publishing)


class Tokens:
    """Access tokens that are `<user id>:<name>`; whoever is called `operator` is one."""

    async def verify(self, token: str) -> Caller:
        user_id, separator, name = token.partition(":")
        if not separator:
            raise InvalidToken("not one of the tests' tokens")
        return Caller(UUID(user_id), name, operator=name == OPERATOR)


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    name: str
    user_id: UUID = field(default_factory=uuid4)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.user_id}:{self.name}"}


@dataclass
class Studio:
    """What a test needs to publish, ask, and look behind the scenes."""

    pool: Pool
    outbox: Outbox
    client: Client
    media_server: MediaServer
    live_list: LiveList[StreamsQuery, LiveStreamsPage]

    async def channel(self, name: str = "ada", *, key: str | None = None) -> tuple[UUID, str]:
        """A channel with a stream key: its id and the key."""
        channel_id, key = uuid4(), key or make_key()
        await self.pool.execute(
            "INSERT INTO channels (channel_id, name, stream_key_hash) VALUES ($1, $2, $3)",
            channel_id,
            name,
            digest(key),
        )
        return channel_id, key

    async def hook(self, body: str | bytes) -> tuple[int, str]:
        """Post one hook: the status, and the stream's id if it was accepted and sent on, else the text."""
        answer = await self.client.post(
            f"/hooks/ingest/nginx-rtmp/{SECRET}",
            data=body if isinstance(body, bytes) else body.encode(),
            headers=FORM,
            allow_redirects=False,
        )
        location = answer.headers.get("Location")
        return answer.status, location.rpartition("/")[2] if location else await answer.text()

    async def publish(self, key: str, client: int = 1) -> tuple[int, str]:
        return await self.hook(f"{_prefix(client)}&call=publish&name={key}&type=live")

    async def alive(self, key: str, client: int = 1, seconds: int = 5) -> int:
        time = f"time={seconds}&timestamp={seconds * 1000}"
        return (await self.hook(f"{_prefix(client)}&call=update_publish&{time}&name={key}"))[0]

    async def gone(self, key: str, client: int = 1) -> int:
        return (await self.hook(f"{_prefix(client)}&call=publish_done&name={key}"))[0]

    async def stream(self, stream_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/api/streams/{stream_id}")
        assert answer.status == 200
        view: dict[str, Any] = await answer.json()
        return view

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.pool.fetch(sql, *arguments)

    async def said(self, event_type: str | None = None) -> list[dict[str, Any]]:
        """What was said, in order: the events' fields and their `type`."""
        rows = await self.rows("SELECT type, data FROM outbox ORDER BY id")
        events = [{"type": row["type"], **json.loads(row["data"])} for row in rows]
        return [event for event in events if event_type in (None, event["type"])]

    def reaper(
        self, *, grace_seconds: float, silence_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> Reaper:
        return Reaper(
            self.outbox,
            self.pool,
            grace_seconds=grace_seconds,
            silence_seconds=silence_seconds,
            on_change=self.live_list.forget,
            pass_seconds=0.1,
            clock=clock,
        )


@asynccontextmanager
async def open_studio(
    dsn: SecretStr,
    *,
    media_server: MediaServer | None = None,
    secret: str = SECRET,
    push_url: str = PUSH_URL,
    playback_secret: str = PLAYBACK_SECRET,
    port: int | None = None,
    hook_seconds_max: float = 20,
) -> AsyncIterator[Studio]:
    """Streaming's HTTP surface on a free port (or `port`), without relay, consumer and reaper."""
    media_server = media_server or MediaServerTwin()
    async with open_pool(PostgresSettings(postgres_dsn=dsn), schema="streaming") as pool:
        outbox = Outbox(pool, source="streaming")
        reads = ReadPool(pool)
        live_list: LiveList[StreamsQuery, LiveStreamsPage] = LiveList(
            read_streams, primary=pool, replicas=reads, seconds_max=10
        )
        publishing = Publishing(
            outbox,
            pool,
            MediaServers({SERVER: media_server}),
            close_seconds_max=CLOSE_SECONDS_MAX,
            on_change=live_list.forget,
        )
        hooked = HookedServer(SERVER, Dialect.NGINX_RTMP, SettledSecrets(SecretStr(secret)), "live", push_url)
        rules = HookRules(HookedServers([hooked]), seconds_max=hook_seconds_max)
        finding, bans = Finding(reads), Bans(pool)
        changing = Changing(outbox, on_change=live_list.forget)
        server = HttpServer(
            [
                Channels(pool, reads, bans, public_ingest_url="rtmp://127.0.0.1:1935/live"),
                Streams(reads, finding, Preparing(pool), changing, publishing, bans, live_list, _nobody_counts()),
                Playback(finding, PlaybackSigner(SecretStr(playback_secret)), seconds_max=PLAYBACK_SECONDS),
                PlaybackChecks(pool),
                IngestHooks(publishing, rules),
            ],
            settings=HttpSettings(),
            verifier=Tokens(),
        )
        async with TestClient(TestServer(await server.application(), port=port)) as client:
            yield Studio(pool, outbox, client, media_server, live_list)


def _nobody_counts() -> Audience:
    """Viewers as they are without Redis: nobody can say how many."""
    return Audience(ViewerCounts(RedisBatches(Redis.from_url("redis://127.0.0.1:1/0")), viewers_of_address_max=1))


def _prefix(client: int) -> str:
    return f"app=live&flashver=FMLE/3.0&swfurl=&tcurl=rtmp://127.0.0.1/live&pageurl=&addr=127.0.0.1&clientid={client}"
