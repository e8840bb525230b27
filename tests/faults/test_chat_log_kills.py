"""What was acknowledged is in the log once and in order, wherever gateways, log writers and Redis are killed or frozen.

Two processes of chat, each with a log writer, serve people who speak all the time and repeat, under the same id, what
was not acknowledged. At each point a process is killed and started again, or frozen and let go, or Redis is killed and
started again. Afterwards every acknowledged message is said and written down exactly once, in the order of its room.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from redis.asyncio import Redis

from chat.brokers.spool_redis import RedisSpool
from deploy.local import Stack
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests import engines
from tests.conftest import FaultPlan
from tests.integration.chat.gateways import (
    Accounts,
    Gateway,
    Person,
    Site,
    chat_environment,
    create_topics,
    eventually,
)

ROOMS = 3
SPEAKERS = 6
POINTS_ALL = 50
PAUSE_SECONDS = 0.015
ANSWER_SECONDS = 3.0
FROZEN_SECONDS = (0.5, 2.0, 12.0)
"""The longest is longer than Postgres keeps the transaction of somebody who says nothing."""
DRAINED_SECONDS = 60.0
REPEATED_SECONDS = 60.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]


@dataclass
class Scene:
    """Gateways over a Redis, a database and a bus; and what the people there were told."""

    site: Site
    stack: Stack
    redis: Redis
    pool: Pool
    gateways: list[Gateway] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    over: bool = False
    frozen_seconds: tuple[float, ...] = FROZEN_SECONDS

    async def durable(self) -> None:
        """Have Redis answer only when a write is on the disk: so nothing is lost by a kill, whatever the disk does."""

        async def told() -> bool:
            with suppress(Exception):
                return bool(await self.redis.config_set("appendfsync", "always"))
            return False

        await eventually(told)

    async def drained(self) -> None:
        """Everything that was accepted has left the spool."""
        spool = RedisSpool(self.redis)

        async def empty() -> bool:
            rooms = await self.pool.fetch("SELECT channel_id FROM rooms")
            return not any([await spool.depth(row["channel_id"]) for row in rooms])

        await eventually(empty, DRAINED_SECONDS)


@dataclass
class Speaker:
    """Somebody who says one thing after the other, and repeats what was not acknowledged."""

    scene: Scene
    room: UUID
    person: Person
    chance: random.Random
    socket: aiohttp.ClientWebSocketResponse | None = None

    async def run(self) -> None:
        """Speak until it is over; what was begun is brought to an end."""
        said = 0
        while not self.scene.over:
            text = f"{self.person.name}-{said}"
            await eventually(lambda text=text: self._say(text), REPEATED_SECONDS)  # type: ignore[misc]  # bound at once
            self.scene.acknowledged.append(text)
            said += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _say(self, text: str) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                socket = await self._joined()
                await socket.send_json({"type": "send", "id": text, "text": text})
                answer = await self._answer(socket, lambda frame: frame.get("id") == text)
        except (aiohttp.ClientError, OSError, ConnectionError):
            await self._leave()
            return False
        assert answer["type"] == "accepted" or answer["code"] == "unavailable", answer
        return bool(answer["type"] == "accepted")

    async def _joined(self) -> aiohttp.ClientWebSocketResponse:
        if self.socket is None or self.socket.closed:
            gateway = self.chance.choice(self.scene.gateways)
            self.socket = await self.scene.site.session.ws_connect(f"{gateway.url}/chat", compress=0)
            token = self.scene.site.accounts.token(self.person)
            await self.socket.send_json({"type": "join", "v": 1, "room": str(self.room), "token": token})
            await self._answer(self.socket, lambda frame: frame["type"] == "joined")
        return self.socket

    async def _answer(
        self, socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        while True:
            received = await socket.receive()
            if received.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionResetError("the gateway is gone")
            frame: dict[str, Any] = json.loads(received.data)
            if wanted(frame):
                return frame

    async def _leave(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(0.2):
                    await socket.close()


@pytest.fixture
async def scene(
    database: engines.Database,
    kafka_bootstrap_servers: str,
    topic_prefix: str,
    own_stack: Callable[..., Stack],
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    """Two gateways on a Redis of their own."""
    stack, accounts = own_stack("redis"), Accounts()
    redis_url = stack.environment()["LIVESTREAM_REDIS_URL"]
    async with (
        accounts.published() as jwks_url,
        open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as pool,
        Redis.from_url(redis_url) as redis,
    ):
        environment = chat_environment(
            {
                "LIVESTREAM_POSTGRES_DSN": database.url,
                "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
                "LIVESTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
                "LIVESTREAM_JWKS_URL": jwks_url,
                "LIVESTREAM_PUBLIC_URL": "http://edge.test",
                "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
                "LIVESTREAM_REDIS_URL": redis_url,
            }
        )
        await create_topics(environment)
        site = Site(environment, accounts, tmp_path)
        made = Scene(site, stack, redis, pool)
        try:
            await made.durable()
            made.gateways += await asyncio.gather(site.start(), site.start())
            yield made
        finally:
            made.over = True
            await site.close()


async def strike_by_killing(scene: Scene, chance: random.Random) -> None:
    """SIGKILL, and another process in its place."""
    number = chance.randrange(2)
    await scene.gateways[number].kill()
    scene.gateways[number] = await scene.site.start()


async def strike_by_freezing(scene: Scene, chance: random.Random) -> None:
    """Frozen in the middle of whatever it did; it wakes up late, and goes on with that."""
    frozen = chance.choice(scene.gateways).process
    frozen.send_signal(signal.SIGSTOP)
    await asyncio.sleep(chance.choice(scene.frozen_seconds))
    frozen.send_signal(signal.SIGCONT)


async def strike_at_redis(scene: Scene, chance: random.Random) -> None:
    """Redis is killed, and is there again after a while."""
    os.kill(scene.stack.pid("redis"), signal.SIGKILL)
    await asyncio.sleep(chance.uniform(0.1, 1.0))
    await asyncio.to_thread(scene.stack.start, "redis")
    await scene.durable()


STRIKES: tuple[Callable[[Scene, random.Random], Awaitable[None]], ...] = (
    strike_by_killing,
    strike_by_freezing,
    strike_at_redis,
)


async def test_what_was_acknowledged_is_kept_once_and_in_order_wherever_something_is_killed(
    scene: Scene, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    points = fault_plan.points if fault_plan.points < 10 else POINTS_ALL
    if points < POINTS_ALL:
        scene.frozen_seconds = FROZEN_SECONDS[:-1]
    rooms = [uuid7() for _ in range(ROOMS)]
    await scene.pool.executemany("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, 'r')", [(r,) for r in rooms])
    speakers = [Speaker(scene, rooms[number % ROOMS], Person(f"p{number}"), chance) for number in range(SPEAKERS)]
    async with asyncio.TaskGroup() as tasks:
        for speaker in speakers:
            tasks.create_task(speaker.run())
        for point in range(points):
            before = len(scene.acknowledged)
            await eventually(lambda before=before: len(scene.acknowledged) > before + 50)  # type: ignore[misc]  # bound at once
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            strike = STRIKES[point % len(STRIKES)]
            await strike(scene, chance)
        before = len(scene.acknowledged)
        await eventually(lambda: len(scene.acknowledged) > before + 50)
        scene.over = True
    began_at = time.monotonic()
    await scene.drained()
    # One that was frozen may still be finishing what it had begun.
    assert time.monotonic() - began_at < DRAINED_SECONDS
    for gateway in scene.gateways:
        assert await gateway.stop() == 0, gateway.log.read_text()[-4_000:]
    await assert_kept(scene)


async def assert_kept(scene: Scene) -> None:
    """Lost, doubled, reordered, invented: none of it."""
    rows = await scene.pool.fetch("SELECT data FROM outbox WHERE type = 'chat-message.sent' ORDER BY id")
    said = [json.loads(row["data"]) for row in rows]
    texts = [event["text"] for event in said]
    kept = [row["text"] for row in await scene.pool.fetch("SELECT text FROM messages")]
    assert len(texts) == len(set(texts)), "said twice"
    assert len(kept) == len(set(kept)), "written down twice"
    assert set(texts) == set(kept)
    lost = set(scene.acknowledged) - set(texts)
    assert not lost, f"{len(lost)} of {len(scene.acknowledged)} lost, such as {sorted(lost)[:5]}"
    assert len(set(texts) - set(scene.acknowledged)) <= SPEAKERS, "what nobody said"
    places: dict[tuple[str, str], int] = {}
    for event in said:
        place = (event["channel_id"], event["epoch"])
        assert event["offset"] > places.get(place, 0), "out of order"
        places[place] = event["offset"]
