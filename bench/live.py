"""How soon thousands of connected followers hear that a stream started, over server-sent events and over WebSocket.

A real notify process with Postgres, Kafka and Redis; 4,000 followers are connected by one generator process on the same
cores. Two clocks: from the publish on Redis, which is the live lane alone, and from the commit of `stream.started`,
which has the relay, the bus, the fan-out's admission and the writing of inboxes in it, too. Each start is of another
channel, so that no cool-down keeps it silent. Some channels have 100,000 followers; the 4,000 are the connected ones.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

import psutil
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from redis.asyncio import Redis

from bench.bus_scene import fresh_database
from bench.live_clients import Arrival, Clients, Form, open_clients
from bench.notify_process import running_notify
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, StreamStarted
from notify.announcer import RedisChannels
from notify.notices import stream_notice
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.tokens import ALGORITHM

PORT_BASE: Final = 21_000
CLIENTS: Final = 4_000
ROUNDS: Final = 7
"""Of each form and clock; the first of them warms up and does not count."""
PAUSE_SECONDS: Final = 1.0
WAIT_SECONDS_MAX: Final = 60.0
TOKEN_SECONDS: Final = 3_600
FORMS: Final[tuple[Form, ...]] = ("sse", "socket")
CHANNELS: Final = len(FORMS) * 2 * ROUNDS
CROWD: Final = 100_000
"""Followers of a large channel, the connected ones among them."""
CROWD_ROUNDS: Final = 4
"""The first of them warms up and does not count."""


@dataclass(frozen=True)
class Scene:
    """What runs."""

    outbox: Outbox
    redis: Redis
    port: int
    notify: psutil.Process
    tokens: Sequence[str]
    channels: list[UUID]
    """Whom all clients follow; each starts once."""
    large: list[UUID]
    """The same with a crowd of others who follow, too."""
    inboxes: Pool

    def cpu_seconds(self) -> float:
        """What notify has used so far."""
        times = self.notify.cpu_times()
        return times.user + times.system


async def measure(directory: Path, say: Say) -> Outcome:
    """Start the engines below `directory`, measure both forms, stop everything."""
    stack = Stack(directory, profile="full", port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ("postgres", "redis", "kafka"), say=say)
    try:
        async with _open_scene(stack, say) as scene:
            figures = {"clients": float(CLIENTS), "rounds": float(ROUNDS - 1)}
            for form in FORMS:
                figures |= await _measure_form(scene, form, say)
            used = scene.cpu_seconds()
    finally:
        await asyncio.to_thread(stack.down)
    return Outcome(figures, processes=1, cpu_seconds=round(used, 2))


async def _measure_form(scene: Scene, form: Form, say: Say) -> dict[str, float]:
    began = time.monotonic()
    async with open_clients(scene.port, scene.tokens, form=form) as clients:
        say(f"{form}: {CLIENTS} clients connected in {time.monotonic() - began:.1f} s")
        published = [await _round(scene, clients, is_published=True) for _ in range(ROUNDS)]
        committed = [await _round(scene, clients, is_published=False) for _ in range(ROUNDS)]
        crowded = await _measure_crowd(scene, clients, say) if form == "sse" else {}
        memory = scene.notify.memory_info().rss
        generator = psutil.Process(clients.pid).cpu_times()
    return {
        **_figures(f"{form}_from_publish", published[1:]),
        **_figures(f"{form}_from_commit", committed[1:]),
        **crowded,
        f"{form}_from_publish_cpu_ms": round(median(used for _, _, used in published[1:]) * 1_000, 1),
        f"{form}_notify_memory_mib": round(memory / 2**20, 1),
        f"{form}_generator_cpu_seconds": round(generator.user + generator.system, 2),
    }


async def _measure_crowd(scene: Scene, clients: Clients, say: Say) -> dict[str, float]:
    """Starts of channels with 100,000 followers: when the last connected one hears, and when the last row is stored."""
    say(f"{CROWD_ROUNDS} starts of channels with {CROWD:,} followers")
    last, stored = [], []
    for _ in range(CROWD_ROUNDS):
        event = _new_start(scene.large.pop())
        async with scene.outbox.transaction() as transaction:
            await transaction.say(event)
        began, said_at = time.monotonic(), datetime.now(UTC)
        last.append((await clients.arrival()).last - began)
        stored.append((await _completed_at(scene.inboxes, event.stream_id) - said_at).total_seconds())
        await asyncio.sleep(PAUSE_SECONDS)
    return {
        "crowd_followers": float(CROWD),
        "crowd_online_last_ms": round(median(last[1:]) * 1_000, 1),
        "crowd_online_last_max_ms": round(max(last[1:]) * 1_000, 1),
        "crowd_stored_seconds": round(median(stored[1:]), 2),
        "crowd_stored_max_seconds": round(max(stored[1:]), 2),
    }


async def _completed_at(pool: Pool, stream_id: UUID) -> datetime:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            completed_at = await pool.fetchval("SELECT completed_at FROM fanouts WHERE fanout_id = $1", stream_id)
            if completed_at is not None:
                moment: datetime = completed_at
                return moment
            await asyncio.sleep(PAUSE_SECONDS / 50)


def _figures(name: str, rounds: Sequence[tuple[float, Arrival, float]]) -> dict[str, float]:
    def ms(values: Sequence[float]) -> float:
        return round(median(values) * 1_000, 1)

    return {
        f"{name}_first_ms": ms([arrival.first - began for began, arrival, _ in rounds]),
        f"{name}_p50_ms": ms([arrival.p50 - began for began, arrival, _ in rounds]),
        f"{name}_p99_ms": ms([arrival.p99 - began for began, arrival, _ in rounds]),
        f"{name}_last_ms": ms([arrival.last - began for began, arrival, _ in rounds]),
        f"{name}_last_min_ms": round(min(arrival.last - began for began, arrival, _ in rounds) * 1_000, 1),
        f"{name}_last_max_ms": round(max(arrival.last - began for began, arrival, _ in rounds) * 1_000, 1),
    }


async def _round(scene: Scene, clients: Clients, *, is_published: bool) -> tuple[float, Arrival, float]:
    """One start: the moment of its publish or commit, its arrival, and the CPU seconds of notify until then."""
    event = _new_start(scene.channels.pop())
    used = scene.cpu_seconds()
    if is_published:
        content = stream_notice(event).model_dump_json()
        began = time.monotonic()
        await scene.redis.publish(RedisChannels("livestream").live, content)
    else:
        async with scene.outbox.transaction() as transaction:
            await transaction.say(event)
        began = time.monotonic()
    arrival = await clients.arrival()
    if UUID(arrival.notice_id) != event.stream_id:
        raise RuntimeError("the clients heard of another stream")
    used = scene.cpu_seconds() - used
    await asyncio.sleep(PAUSE_SECONDS)  # the fan-out's pages are no part of the next round
    return began, arrival, used


def _new_start(channel_id: UUID) -> StreamStarted:
    return StreamStarted(
        stream_id=uuid7(),
        channel_id=channel_id,
        channel_name="streamer",
        title="An evening of chess with the people who watch",
        started_at=datetime.now(UTC),
    )


# --- the scene --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _open_scene(stack: Stack, say: Say) -> AsyncIterator[Scene]:
    environment = stack.environment()
    settings = BusSettings(
        postgres_dsn=SecretStr(await fresh_database(environment["LIVESTREAM_POSTGRES_DSN"])),
        kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
    )
    await migrate(settings.postgres_dsn)
    async with open_topics(settings) as topics:
        await topics.make(TOPICS)
    key = OKPKey.generate_key("Ed25519", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    async with contextlib.AsyncExitStack() as closing:
        keys_url = await closing.enter_async_context(_key_set(key))
        own = {"LIVESTREAM_JWKS_URL": keys_url, "LIVESTREAM_POSTGRES_DSN": settings.postgres_dsn.get_secret_value()}
        notify = await closing.enter_async_context(running_notify(stack, own))
        streaming = await closing.enter_async_context(open_pool(settings, schema="streaming"))
        followings = await closing.enter_async_context(open_pool(settings, schema="notify"))
        bus = await closing.enter_async_context(open_bus(settings))
        redis = await closing.enter_async_context(Redis.from_url(environment["LIVESTREAM_REDIS_URL"]))
        outbox = Outbox(streaming, source="streaming")
        relay = asyncio.create_task(bus.relay(settings.postgres_dsn, outbox, schema="streaming").run())
        closing.push_async_callback(_end, relay)
        say(f"{CLIENTS} people follow {CHANNELS} channels")
        people = [uuid7() for _ in range(CLIENTS)]
        channels, large = [uuid7() for _ in range(CHANNELS)], [uuid7() for _ in range(CROWD_ROUNDS)]
        await _follow(followings, people, [*channels, *large])
        say(f"{CROWD - CLIENTS:,} others follow {len(large)} of them")
        await _crowd(followings, large)
        tokens = [_token(key, person) for person in people]
        yield Scene(outbox, redis, stack.ports["notify"], notify, tokens, channels, large, followings)


async def _follow(pool: Pool, people: Sequence[UUID], channels: Sequence[UUID]) -> None:
    everybody = [*people, *channels]
    await pool.execute("INSERT INTO people (user_id, username) SELECT id, id FROM unnest($1::uuid[]) AS id", everybody)
    for channel_id in channels:
        await pool.execute(
            "INSERT INTO follows (channel_id, follower_id) SELECT $1, id FROM unnest($2::uuid[]) AS id",
            channel_id,
            people,
        )


async def _crowd(pool: Pool, channels: Sequence[UUID]) -> None:
    numbers = CROWD - CLIENTS
    await pool.execute(
        "INSERT INTO people (user_id, username) SELECT md5('crowd/' || n)::uuid, 'other-' || n"
        " FROM generate_series(1, $1::integer) AS n",
        numbers,
    )
    for channel_id in channels:
        await pool.execute(
            "INSERT INTO follows (channel_id, follower_id) SELECT $2, md5('crowd/' || n)::uuid"
            " FROM generate_series(1, $1::integer) AS n",
            numbers,
            channel_id,
        )
    for table in ("people", "follows", "follower_counts"):
        await pool.execute(f"VACUUM (ANALYZE) {table}")


def _token(key: OKPKey, person: UUID) -> str:
    now = int(time.time())
    claims = {"iss": "livestream", "sub": str(person), "name": "viewer", "iat": now, "exp": now + TOKEN_SECONDS}
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


@contextlib.asynccontextmanager
async def _key_set(key: OKPKey) -> AsyncIterator[str]:
    """Where notify fetches the public key, as from the accounts service."""

    async def keys(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [key.as_dict(private=False)]})

    application = web.Application()
    application.router.add_get("/jwks.json", keys)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}/jwks.json"
    finally:
        await runner.cleanup()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


BENCH = Bench(
    name="live",
    description="4,000 connected followers, alone and among 100,000: when the first and the last hear of a start.",
    bars=[
        *(Bar(f"{form}_from_commit_last_ms", "<=", 100) for form in FORMS),
        Bar("crowd_online_last_ms", "<=", 100),
        Bar("crowd_stored_seconds", "<=", 2.5),
    ],
    measure=measure,
)
