"""SIGKILL of a live gateway around every notice: who comes back with Last-Event-ID hears each notice once.

Two real processes share Postgres, which carries the events, and Redis. A moment after each start the process dies that
the followers are connected to; they come back to the other one. In each round somebody else has muted the channel.
"""

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from deploy.local.places import CHECKOUT
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from notify.notices import least_notice_id
from runtime.postgres import Pool, open_pool
from runtime.tokens import ALGORITHM
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.notify.processes import Person, eventually, fanout_is_complete, seed, started

FOLLOWERS = 12
BLOW_SECONDS_MAX = 0.25
"""From the commit of a start: before, while and after the followers are told."""
ADA = Person("ada")
KEY = OKPKey.generate_key("Ed25519", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@dataclass
class Gateway:
    """A process of notify."""

    process: Process
    url: str

    async def kill(self) -> None:
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL


@dataclass
class Client:
    """A follower who is connected, to whichever gateway there is, and comes back as a browser does."""

    session: aiohttp.ClientSession
    gateways: list[Gateway]
    user_id: UUID
    last_id: str = str(least_notice_id(datetime.now(UTC)))
    heard: list[str] = field(default_factory=list)
    is_connected: bool = False

    @property
    def headers(self) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": "livestream", "sub": str(self.user_id), "name": "f", "iat": now, "exp": now + 900}
        token = jwt.encode({"alg": ALGORITHM, "kid": KEY.kid}, claims, KEY, algorithms=[ALGORITHM])
        return {"Authorization": f"Bearer {token}"}

    async def run(self) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                await self._listen(self.gateways[0].url)
            self.is_connected = False
            await asyncio.sleep(0.02)

    async def _listen(self, url: str) -> None:
        headers = {**self.headers, "Last-Event-ID": self.last_id}
        async with self.session.get(f"{url}/api/notifications/live", headers=headers) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                self.is_connected = True
                if line.startswith(b"id: "):
                    self.last_id = line.decode().removeprefix("id: ").strip()
                    self.heard.append(self.last_id)

    async def mute(self, muted: bool) -> None:
        url = f"{self.gateways[0].url}/api/follows/{ADA.user_id}"
        async with self.session.patch(url, headers=self.headers, json={"muted": muted}) as answer:
            assert answer.status == 200, await answer.text()


async def test_who_comes_back_hears_each_notice_once_whenever_a_gateway_dies(
    database: Database, redis_url: str, redis_prefix: str, tmp_path: Path, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    settings = BusSettings(bus_backend="postgres", postgres_dsn=SecretStr(database.url))
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, schema="notify"))
        outbox = await stack.enter_async_context(_streaming(settings))
        environment = _environment(database.url, redis_url, redis_prefix)
        environment["LIVESTREAM_JWKS_URL"] = await stack.enter_async_context(_key_set())
        gateways: list[Gateway] = []
        stack.push_async_callback(_kill_all, gateways)
        gateways.append(await _start(environment, tmp_path))
        gateways.append(await _start(environment, tmp_path))
        clients = await stack.enter_async_context(_clients(pool, gateways))
        said: list[tuple[str, Client]] = []
        for point in range(fault_plan.points):
            muted = clients[point % FOLLOWERS]
            await eventually(lambda: all(client.is_connected for client in clients))
            await muted.mute(True)
            event = started(ADA)
            said.append((str(event.stream_id), muted))
            async with outbox.transaction() as transaction:
                await transaction.say(event)
            await asyncio.sleep(chance.uniform(0, BLOW_SECONDS_MAX))
            await gateways.pop(0).kill()
            await eventually(lambda: fanout_is_complete(pool, event.stream_id), seconds=60)  # noqa: B023  awaited within the turn
            await muted.mute(False)
            if point + 1 < fault_plan.points:
                gateways.append(await _start(environment, tmp_path))
        for client in clients:
            wanted = [stream_id for stream_id, muted in said if muted is not client]
            await eventually(lambda: len(client.heard) >= len(wanted))  # noqa: B023  awaited within the turn
        for client in clients:
            assert client.heard == [stream_id for stream_id, muted in said if muted is not client]


@asynccontextmanager
async def _clients(pool: Pool, gateways: list[Gateway]) -> AsyncIterator[list[Client]]:
    people = [Person("f").user_id for _ in range(FOLLOWERS)]
    await seed(pool, ADA, people, ago=timedelta(days=1))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [Client(session, gateways, user_id) for user_id in people]
        running = [asyncio.create_task(client.run()) for client in clients]
        try:
            yield clients
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)


@asynccontextmanager
async def _streaming(settings: BusSettings) -> AsyncIterator[Outbox]:
    """Where starts are said, and what relays them."""
    async with open_pool(settings, schema="streaming") as pool, open_bus(settings) as bus:
        outbox = Outbox(pool, source="streaming")
        relaying = asyncio.create_task(bus.relay(settings.postgres_dsn, outbox, schema="streaming").run())
        try:
            yield outbox
        finally:
            relaying.cancel()
            await asyncio.wait([relaying])


def _environment(database_url: str, redis_url: str, redis_prefix: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
        "LIVESTREAM_BUS_BACKEND": "postgres",
        "LIVESTREAM_POSTGRES_DSN": database_url,
        "LIVESTREAM_REDIS_URL": redis_url,
        "LIVESTREAM_NOTIFY_REDIS_PREFIX": redis_prefix,
        "LIVESTREAM_PUBLIC_URL": "http://edge.test",
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_NOTIFY_COOL_DOWN_SECONDS": "0",
        "LIVESTREAM_NOTIFY_FANOUTS_PER_DAY_MAX": "1000",
    }


async def _start(environment: dict[str, str], directory: Path) -> Gateway:
    """A process that is ready."""
    log = directory / f"notify-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "notify"), cwd=CHECKOUT, env=environment, stdout=file, stderr=file
        )
    found: list[str] = []

    async def is_ready() -> bool:
        assert process.returncode is None, log.read_text()
        found[:] = [line for line in log.read_text().splitlines() if "http_listening" in line]
        return bool(found) and "live_subscribed" in log.read_text()

    await eventually(is_ready, seconds=60)
    port = int(found[0].split('"port": ')[1].split(",")[0].rstrip("}"))
    return Gateway(process, f"http://127.0.0.1:{port}")


@asynccontextmanager
async def _key_set() -> AsyncIterator[str]:
    async def keys(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [KEY.as_dict(private=False)]})

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


async def _kill_all(gateways: list[Gateway]) -> None:
    for gateway in gateways:
        await gateway.kill()
