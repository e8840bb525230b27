"""The log of chat: how fast one writer drains the spool into Postgres, events included, and how late it is at a pace.

The limit is measured in the same run: the same rows by COPY into the same table, as many to a transaction, without the
spool, the locks, the tails and the events.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr
from redis.asyncio import Redis

from bench.bus_scene import fresh_database
from bench.report import Bar, Bench, Outcome, Say, percentile
from chat.brokers.broker import Conditions, Retention
from chat.brokers.broker_redis import RedisBroker
from chat.brokers.spool import SpooledMessage
from chat.brokers.spool_redis import RedisSpool
from chat.log.writer import ENTRIES_PER_BATCH_MAX, LogWriter
from chat.rooms.entries import message_body
from chat.store import open_room
from deploy.local import Stack
from eventbus.outbox import Outbox
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.redis_client import redis_client
from runtime.settings import PostgresSettings, RedisSettings

PORT_BASE = 29_600
DRAIN_MESSAGES = 20_000
MANY_ROOMS = 200
PACED_ROOMS = 20
PACED_PER_SECOND = 1_000
PACED_SECONDS = 15
PUBLISHED_AT_ONCE = 100
WAIT_SECONDS_MAX = 120.0
POLL_SECONDS = 0.01
TEXT = "What a game, and it is only the first hour of it"

BARS = (
    Bar("drain_messages_per_second", ">=", 4_000),
    Bar("drain_many_rooms_messages_per_second", ">=", 2_500),
    Bar("paced_lag_p99_ms", "<=", 1_000),
)


@dataclass
class Clocked(RedisSpool):
    """A spool that notes how long each message was on its way to the commit."""

    redis: Redis
    lags_seconds: list[float] = field(default_factory=list)
    sent_at: dict[tuple[UUID, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the spool."""
        super().__init__(self.redis)

    async def waiting_in(self, rooms: Sequence[UUID], *, entries_max: int) -> Sequence[Sequence[SpooledMessage]]:
        found = await super().waiting_in(rooms, entries_max=entries_max)
        for room, entries in zip(rooms, found, strict=True):
            for entry in entries:
                sent_at = datetime.fromisoformat(json.loads(entry.body)["sent_at"])
                self.sent_at[room, entry.spool_id] = sent_at.timestamp()
        return found

    async def settle_in(self, spool_ids: Mapping[UUID, Sequence[str]]) -> None:
        """Called when the commit is done."""
        now = time.time()
        for room, names in spool_ids.items():
            self.lags_seconds += [now - self.sent_at.pop((room, spool_id)) for spool_id in names]
        await super().settle_in(spool_ids)


@dataclass(frozen=True)
class Scene:
    """A Postgres and a Redis of the bench's own."""

    pool: Pool
    redis: Redis
    rooms: Sequence[UUID]
    broker: RedisBroker

    async def publish(self, number: int, rooms: int) -> None:
        """One message, to each of so many rooms in turn."""
        message_id = uuid7()
        body = message_body(message_id, self.rooms[0], "somebody", TEXT, datetime.now(UTC))
        await self.broker.publish(self.rooms[number % rooms], str(message_id), body, Conditions())

    async def fill(self, rooms: int) -> None:
        """A backlog."""
        for start in range(0, DRAIN_MESSAGES, PUBLISHED_AT_ONCE):
            await asyncio.gather(*(self.publish(start + one, rooms) for one in range(PUBLISHED_AT_ONCE)))


async def measure(directory: Path, say: Say) -> Outcome:
    """Drain a backlog of one room and of many, keep pace, and copy the same rows."""
    async with open_scene(directory, say) as scene:
        cpu_began = time.process_time()
        one, one_cpu = await _drain(scene, 1, say)
        many, many_cpu = await _drain(scene, MANY_ROOMS, say)
        lags = await _pace(scene, say)
        cpu_seconds = time.process_time() - cpu_began
        plain = await _copy(scene, say)
    figures = {
        "drain_messages_per_second": round(DRAIN_MESSAGES / one),
        "drain_cpu_seconds": round(one_cpu, 2),
        "drain_many_rooms_messages_per_second": round(DRAIN_MESSAGES / many),
        "drain_many_rooms_cpu_seconds": round(many_cpu, 2),
        "paced_messages_per_second": float(PACED_PER_SECOND),
        "paced_lag_p50_ms": round(percentile(lags, 0.5) * 1_000, 1),
        "paced_lag_p99_ms": round(percentile(lags, 0.99) * 1_000, 1),
        "paced_lag_max_ms": round(max(lags) * 1_000, 1),
    }
    peers = {
        "copy_rows_per_second": round(DRAIN_MESSAGES / plain),
        "drain_to_copy_ratio": round(plain / one, 2),
    }
    return Outcome(figures, processes=1, cpu_seconds=round(cpu_seconds, 2), peers=peers)


async def _drain(scene: Scene, rooms: int, say: Say) -> tuple[float, float]:
    """Seconds and CPU seconds of one writer for the backlog."""
    say(f"drain: {DRAIN_MESSAGES} messages of {rooms} rooms")
    await scene.fill(rooms)
    spool = RedisSpool(scene.redis)
    writer = LogWriter(Outbox(scene.pool, source="chat"), spool)
    began, cpu_began, settled = time.perf_counter(), time.process_time(), 0
    while settled < DRAIN_MESSAGES:
        settled += await writer.round()
        if time.perf_counter() - began > WAIT_SECONDS_MAX:
            raise RuntimeError(f"only {settled} of {DRAIN_MESSAGES} messages were written")
    return time.perf_counter() - began, time.process_time() - cpu_began


async def _pace(scene: Scene, say: Say) -> list[float]:
    say(f"pace: {PACED_PER_SECOND} messages a second for {PACED_SECONDS} s in {PACED_ROOMS} rooms")
    spool = Clocked(scene.redis)
    writing = asyncio.create_task(LogWriter(Outbox(scene.pool, source="chat"), spool).run())
    began, count = time.perf_counter(), PACED_PER_SECOND * PACED_SECONDS
    async with asyncio.TaskGroup() as senders:
        for number in range(count):
            await asyncio.sleep(began + number / PACED_PER_SECOND - time.perf_counter())
            senders.create_task(scene.publish(number, PACED_ROOMS))
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            if len(spool.lags_seconds) >= count:
                break
            await asyncio.sleep(POLL_SECONDS)
    writing.cancel()
    await asyncio.wait({writing})
    return spool.lags_seconds


async def _copy(scene: Scene, say: Say) -> float:
    """The limit: rows and nothing else."""
    say(f"limit: {DRAIN_MESSAGES} rows by COPY")
    columns = (
        "channel_id",
        "message_id",
        "user_id",
        "username",
        "text",
        "kind",
        "particulars",
        "epoch",
        "offset",
        "sent_at",
    )
    now = datetime.now(UTC)
    rows = [
        (scene.rooms[0], uuid7(), scene.rooms[0], "somebody", TEXT, "message", '{"role": "viewer"}', "e", number, now)
        for number in range(DRAIN_MESSAGES)
    ]
    began = time.perf_counter()
    async with scene.pool.acquire() as connection:
        for start in range(0, DRAIN_MESSAGES, ENTRIES_PER_BATCH_MAX):
            batch = rows[start : start + ENTRIES_PER_BATCH_MAX]
            await connection.copy_records_to_table("messages", records=batch, columns=columns)
    return time.perf_counter() - began


@asynccontextmanager
async def open_scene(directory: Path, say: Say) -> AsyncIterator[Scene]:
    """Start Postgres and Redis below ``directory``, and stop them at the end."""
    stack = Stack(directory, profile="solo", port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ("postgres", "redis"), say=say)
    try:
        dsn = SecretStr(await fresh_database(stack.environment()["LIVESTREAM_POSTGRES_DSN"]))
        await migrate(dsn)
        redis_url = SecretStr(stack.environment()["LIVESTREAM_REDIS_URL"])
        async with (
            open_pool(PostgresSettings(postgres_dsn=dsn), schema="chat") as pool,
            redis_client(RedisSettings(redis_url=redis_url)) as redis,
        ):
            await redis.flushall()
            rooms = [uuid7() for _ in range(MANY_ROOMS)]
            async with pool.acquire() as connection:
                for number, room in enumerate(rooms):
                    await open_room(connection, room, f"room-{number}")
            yield Scene(pool, redis, rooms, RedisBroker(redis, Retention(sent_id_seconds=10)))
    finally:
        await asyncio.to_thread(stack.down)


BENCH = Bench(
    name="chat_log",
    description="One writer drains 20,000 messages into Postgres, with events; its lag at 1,000 messages a second.",
    bars=BARS,
    measure=measure,
)
