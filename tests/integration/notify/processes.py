"""Notify in the test's own process: its services, its HTTP client, and people who listen on its live lane."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import aiohttp
from prometheus_client import REGISTRY

from eventbus.bus import Publisher, Record
from eventbus.bus_memory import MemoryBus
from events import Envelope, Event, StreamStarted, encode, topic_of
from notify.__main__ import assemble
from notify.live_gateway import LiveGateway
from notify.settings import NotifySettings
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.redis_client import redis_client
from runtime.supervise import supervise
from runtime.tokens import Caller, InvalidToken

T = TypeVar("T")
Anything: TypeAlias = Any  # whatever the HTTP client takes
WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    name: str
    user_id: UUID = field(default_factory=uuid7)

    @property
    def token(self) -> str:
        return f"{self.user_id}/{self.name}"


class NamesInTokens:
    """A Verifier whose tokens say plainly who they are of."""

    async def verify(self, token: str) -> Caller:
        user_id, _, name = token.partition("/")
        if not name:
            raise InvalidToken("it names nobody")
        return Caller(UUID(user_id), name)


@dataclass
class RunningNotify:
    """A process that runs."""

    url: str
    session: aiohttp.ClientSession
    pool: Pool
    bus: MemoryBus
    running: "asyncio.Task[None]"
    sockets: list[aiohttp.ClientWebSocketResponse] = field(default_factory=list)
    """Those that a test has opened; closed when it is over."""

    async def stop(self) -> None:
        """Ask the process to stop, as SIGTERM does, and wait for it."""
        self.running.cancel()
        await asyncio.wait([self.running])

    async def call(self, method: str, path: str, person: Person | None = None, **rest: Anything) -> tuple[int, Any]:
        """The status and JSON body of an answer."""
        headers = {"Authorization": f"Bearer {person.token}"} if person else {}
        async with self.session.request(method, self.url + path, headers=headers, **rest) as answer:
            content = await answer.read()
            return answer.status, json.loads(content) if content else None

    async def follow(self, person: Person, channel: Person) -> None:
        status, body = await self.call("PUT", f"/api/users/{channel.user_id}/followers/me", person)
        assert status == 204, body

    async def unfollow(self, person: Person, channel: Person) -> None:
        status, body = await self.call("DELETE", f"/api/users/{channel.user_id}/followers/me", person)
        assert status == 204, body

    async def notices(self, person: Person) -> list[dict[str, Any]]:
        """A person's inbox as the live lane says it."""
        status, body = await self.call("GET", "/api/notifications?limit=100", person)
        assert status == 200, body
        items: list[dict[str, Any]] = body["items"]
        return [{name: value for name, value in item.items() if name != "read"} for item in items]

    async def listen(self, person: Person, last_event_id: str | None = None) -> "Listener":
        """Connect to the live lane and be let in."""
        headers = {"Authorization": f"Bearer {person.token}"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        answer = await self.session.get(f"{self.url}/api/notifications/live", headers=headers)
        listener = Listener(answer)
        await eventually(lambda: listener.blocks >= 1 or listener.ended)
        return listener


class Listener:
    """A connected client that reads all the time."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.events: list[dict[str, str]] = []
        self.blocks = 0
        self.comments = 0
        self.ended = False
        self._task = asyncio.create_task(self._read())

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(event["data"]) for event in self.events if event.get("event") == "notice"]

    @property
    def stream_ids(self) -> list[str]:
        return [notice["stream_id"] for notice in self.notices]

    async def close(self) -> None:
        self._task.cancel()
        self.answer.close()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        event: dict[str, str] = {}
        try:
            async for line in self.answer.content:
                text = line.decode().rstrip("\n")
                if not text:
                    self.blocks += 1
                    if "data" in event:
                        self.events.append(event)
                    event = {}
                elif text.startswith(":"):
                    self.comments += 1
                else:
                    name, _, value = text.partition(": ")
                    event[name] = value
        except aiohttp.ClientError:
            pass
        finally:
            self.ended = True


@asynccontextmanager
async def running_notify(settings: NotifySettings, bus: MemoryBus) -> AsyncIterator[RunningNotify]:
    """A process's services under supervision, up to its answer to the first request."""
    health = Health()
    redis = redis_client(settings)
    async with (
        open_pool(settings, schema="notify") as pool,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        verifier = NamesInTokens()
        process = await assemble(stack, settings, bus, redis, verifier, health)
        server = HttpServer(process.apis, settings=settings, verifier=verifier, health=health)
        services = [server, *process.services]
        running = asyncio.create_task(supervise(services, stop_grace_seconds=settings.stop_grace_seconds))
        sockets: list[aiohttp.ClientWebSocketResponse] = []
        try:
            port = await _or_its_failure(running, server.listening())
            notify = RunningNotify(f"http://127.0.0.1:{port}", session, pool, bus, running, sockets)
            [gateway] = [service for service in process.services if isinstance(service, LiveGateway)]
            await _or_its_failure(running, gateway.subscribed.wait())
            yield notify
        finally:
            running.cancel()
            await asyncio.wait([running])
            await redis.aclose()
            for socket in sockets:
                await socket.close()
            if not running.cancelled() and (error := running.exception()) is not None:
                raise error


async def _or_its_failure(running: "asyncio.Task[None]", wanted: Awaitable[T]) -> T:
    task = asyncio.ensure_future(wanted)
    await asyncio.wait([running, task], return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
    if not task.done():
        task.cancel()
        raise AssertionError(f"not up: {running.exception() if running.done() else 'still waiting'}")
    return task.result()


async def eventually(met: Callable[[], bool | Awaitable[bool]], seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition; AssertionError when it is not met in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = met()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


def started(channel: Person, *, title: str = "chess") -> StreamStarted:
    """The event that a channel went live, now."""
    return StreamStarted(
        stream_id=uuid7(),
        channel_id=channel.user_id,
        channel_name=channel.name,
        title=title,
        started_at=datetime.now(UTC),
    )


async def say(bus: Publisher, *events: Event) -> None:
    """Publish events as their service would, each with an id of its own."""
    await bus.publish([_record(event) for event in events])


def _record(event: Event) -> Record:
    envelope = Envelope(id=uuid7(), source="test", time=datetime.now(UTC), event=event)
    key, value, headers = encode(envelope)
    return Record(topic_of(event).name, key, value, headers)


async def fanout_is_complete(pool: Pool, stream_id: UUID) -> bool:
    return bool(await pool.fetchval("SELECT completed_at IS NOT NULL FROM fanouts WHERE fanout_id = $1", stream_id))


async def seed(
    pool: Pool, channel: Person, follower_ids: Sequence[UUID], *, ago: timedelta = timedelta(days=1)
) -> None:
    """Let people of these ids follow a channel since a while."""
    await pool.execute("INSERT INTO people SELECT $1, $2 ON CONFLICT DO NOTHING", channel.user_id, channel.name)
    await pool.execute(
        "INSERT INTO people SELECT id, 'f' FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING", follower_ids
    )
    await pool.execute(
        "INSERT INTO follows SELECT $1, id, now() - $3::interval FROM unnest($2::uuid[]) AS id",
        channel.user_id,
        follower_ids,
        ago,
    )


def slow_clients_cut() -> float:
    """How many live connections were cut because their clients did not read."""
    return REGISTRY.get_sample_value("livestream_notify_live_cut_total", {"reason": "slow"}) or 0.0


async def notices_by_person(pool: Pool, stream_id: UUID) -> dict[UUID, int]:
    """How many rows each person's inbox has of a stream."""
    rows = await pool.fetch("SELECT user_id, count(*) FROM notices WHERE notice_id = $1 GROUP BY user_id", stream_id)
    return {row["user_id"]: row["count"] for row in rows}
