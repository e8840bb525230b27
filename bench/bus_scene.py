"""What the benches of the bus share: engines, a fresh database, topics of their own, events, CPU clocks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import psutil
from pydantic import SecretStr

from bench.report import Say
from deploy.local import Stack
from eventbus.bus import EventBus
from eventbus.bus_kafka import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, StreamStarted
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

PORT_BASE = 21_000
SCHEMA = "streaming"
ENGINES = ("postgres", "kafka")
CONNECTIONS_MAX = 20


@dataclass(frozen=True)
class Scene:
    """Engines that run, with everything made on them."""

    stack: Stack
    dsn: SecretStr
    kafka: KafkaSettings
    pool: Pool
    bus: EventBus

    @property
    def outbox(self) -> Outbox:
        """A new outbox on the pool."""
        return Outbox(self.pool, source=SCHEMA)

    def engines_cpu_seconds(self) -> float:
        """What Postgres and Kafka have used so far, all their processes together."""
        return sum(_tree_cpu_seconds(psutil.Process(self.stack.pid(engine))) for engine in ENGINES)


@asynccontextmanager
async def open_scene(directory: Path, say: Say) -> AsyncIterator[Scene]:
    """Start Postgres and Kafka below ``directory``; everything is stopped on leaving."""
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ENGINES, say=say)
    try:
        environment = stack.environment()
        dsn = SecretStr(await _fresh_database(environment["LIVESTREAM_POSTGRES_DSN"]))
        await migrate(dsn)
        kafka = KafkaSettings(
            kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
            kafka_topic_prefix=f"bench{time_ns()}.",
        )
        async with open_topics(kafka) as topics:
            await topics.make(TOPICS)
        settings = PostgresSettings(postgres_dsn=dsn, postgres_connections_max=CONNECTIONS_MAX)
        async with open_pool(settings, schema=SCHEMA) as pool, open_bus(kafka) as bus:
            yield Scene(stack, dsn, kafka, pool, bus)
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


async def _fresh_database(url: str) -> str:
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
