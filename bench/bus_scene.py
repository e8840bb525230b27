"""What the benches of the bus share: engines, a fresh database, topics of their own, events, CPU clocks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil
from pydantic import SecretStr

from bench.report import Say
from deploy.local import Stack
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, StreamStarted
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool

PORT_BASE = 21_000
SCHEMA = "streaming"
CONNECTIONS_MAX = 20

Backend = Literal["kafka", "postgres"]
BACKENDS: tuple[Backend, ...] = ("postgres", "kafka")


@dataclass(frozen=True)
class Scene:
    """Engines that run, with everything made on them."""

    stack: Stack
    engines: tuple[str, ...]
    settings: BusSettings
    pool: Pool
    bus: EventBus

    @property
    def dsn(self) -> SecretStr:
        """The database."""
        return self.settings.postgres_dsn

    @property
    def outbox(self) -> Outbox:
        """A new outbox on the pool."""
        return Outbox(self.pool, source=SCHEMA)

    def engines_cpu_seconds(self) -> float:
        """What the engines have used so far, all their processes together."""
        return sum(_tree_cpu_seconds(psutil.Process(self.stack.pid(engine))) for engine in self.engines)


@asynccontextmanager
async def open_scene(directory: Path, say: Say, *, backend: Backend = "kafka") -> AsyncIterator[Scene]:
    """Start what the bus needs below ``directory``; everything is stopped on leaving."""
    stack = Stack(directory, port_base=PORT_BASE)
    engines = ("postgres",) if backend == "postgres" else ("postgres", "kafka")
    await asyncio.to_thread(stack.up, engines, say=say)
    try:
        environment = stack.environment()
        dsn = SecretStr(await fresh_database(environment["LIVESTREAM_POSTGRES_DSN"]))
        await migrate(dsn)
        settings = BusSettings(
            bus_backend=backend,
            postgres_dsn=dsn,
            postgres_connections_max=CONNECTIONS_MAX,
            kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
            kafka_topic_prefix=f"bench{time_ns()}.",
        )
        if backend == "kafka":
            async with open_topics(settings) as topics:
                await topics.make(TOPICS)
        async with open_pool(settings, schema=SCHEMA) as pool, open_bus(settings) as bus:
            yield Scene(stack, engines, settings, pool, bus)
    finally:
        await asyncio.to_thread(stack.down)


def events(count: int, *, channels: int = 1_000) -> Sequence[StreamStarted]:
    """Events as services say them, spread over ``channels`` keys."""
    keys = [uuid4() for _ in range(min(channels, count))]
    now = datetime.now(UTC)
    return [
        StreamStarted(
            stream_id=uuid7(),
            channel_id=keys[number % len(keys)],
            channel_name="somebody",
            title="A stream with an ordinary title",
            started_at=now,
        )
        for number in range(count)
    ]


def own_cpu_seconds() -> float:
    """What this process has used so far."""
    used = psutil.Process().cpu_times()
    return used.user + used.system


async def fresh_database(url: str) -> str:
    """The url of a new, empty database on the server of ``url``; one of an earlier run is dropped."""
    name = "bench_bus"
    connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _tree_cpu_seconds(root: psutil.Process) -> float:
    # The children's share counts those that have ended already, such as backends of closed connections.
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
        if process == root:
            total += used.children_user + used.children_system
    return total
