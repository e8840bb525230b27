"""What the bench of fan-outs runs on: engines, a notify process of its own, channels with very many followers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import psutil
from pydantic import SecretStr

from bench.notify_process import running_notify
from bench.report import Say
from bench.stream_start import EVERY_START_IS_TOLD
from deploy.local import Stack
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from events import StreamStarted
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool

PARTS: Final = ("postgres", "redis", "kafka", "nginx", "accounts")
SEED_STEP: Final = 50_000
WAIT_SECONDS_MAX: Final = 180.0
POLL_SECONDS: Final = 0.02

_PEOPLE = """
    INSERT INTO people (user_id, username)
    SELECT md5('bench/' || n)::uuid, 'follower-' || n FROM generate_series($1::integer, $2::integer) AS n
"""
_FOLLOWS = """
    INSERT INTO follows (channel_id, follower_id, followed_at)
    SELECT $3, md5('bench/' || n)::uuid, now() - interval '1 day' FROM generate_series($1::integer, $2::integer) AS n
"""
_STANDS = "SELECT begun_at, completed_at, recipients, pages_done FROM fanouts WHERE fanout_id = $1"


@dataclass(frozen=True)
class Told:
    """A fan-out that is complete. Seconds from when its start was said, and from its first page's planning."""

    since_said_seconds: float
    since_begun_seconds: float
    recipients: int
    pages: int


@dataclass(frozen=True)
class Scene:
    """What runs."""

    stack: Stack
    notify: psutil.Process
    pool: Pool
    """On notify's schema."""
    outbox: Outbox
    """Streaming's."""
    bus: EventBus
    dsn: SecretStr

    def cpu_seconds(self) -> float:
        """What notify has used so far."""
        times = self.notify.cpu_times()
        return times.user + times.system

    @contextlib.asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """Relay what is said in streaming's outbox at once, as streaming does where it runs."""
        relay = asyncio.create_task(self.bus.relay(self.dsn, self.outbox, schema="streaming").run())
        try:
            yield
        finally:
            relay.cancel()
            await asyncio.wait([relay])

    async def start(self, channel_id: UUID) -> tuple[UUID, datetime]:
        """Say that the channel's stream started; its id, and when that was committed."""
        event = StreamStarted(
            stream_id=uuid7(),
            channel_id=channel_id,
            channel_name="streamer",
            title="An evening of chess with the people who watch",
            started_at=datetime.now(UTC),
        )
        async with self.outbox.transaction() as transaction:
            await transaction.say(event)
        return event.stream_id, datetime.now(UTC)

    async def told(self, stream_id: UUID, said_at: datetime) -> Told:
        """Wait until its fan-out is complete."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            row = await self.pool.fetchrow(_STANDS, stream_id)
            if row is not None and row["completed_at"] is not None:
                return Told(
                    (row["completed_at"] - said_at).total_seconds(),
                    (row["completed_at"] - row["begun_at"]).total_seconds(),
                    row["recipients"],
                    row["pages_done"],
                )
            if time.monotonic() > deadline:
                raise RuntimeError(f"the fan-out stands after {WAIT_SECONDS_MAX:g} s: {row}")
            await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def open_scene(stack: Stack) -> AsyncIterator[Scene]:
    """Start everything but streaming; notify with neither cool-down nor daily limit."""
    # the services are prepared by starting one of them
    environment = stack.environment()
    settings = BusSettings(
        postgres_dsn=SecretStr(environment["LIVESTREAM_POSTGRES_DSN"]),
        kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
    )
    patient = settings.model_copy(update={"postgres_command_timeout_seconds": WAIT_SECONDS_MAX})
    async with (
        running_notify(stack, EVERY_START_IS_TOLD) as process,
        open_pool(settings, schema="streaming") as streaming,
        open_pool(patient, schema="notify") as pool,
        open_bus(settings) as bus,
    ):
        outbox = Outbox(streaming, source="streaming")
        yield Scene(stack, process, pool, outbox, bus, settings.postgres_dsn)


async def seed(pool: Pool, sizes: dict[UUID, int], say: Say) -> None:
    """Make people, let the first of them follow each channel, and let Postgres know about it.

    What a run before this one has left goes: its rows would be in the way.
    """
    await pool.execute("TRUNCATE people, follows, follower_counts, fanouts, announced_fanouts, notices CASCADE")
    for first in range(1, max(sizes.values()) + 1, SEED_STEP):
        await pool.execute(_PEOPLE, first, min(first + SEED_STEP, max(sizes.values()) + 1) - 1)
    for channel_id, followers in sizes.items():
        say(f"seeding {followers:,} followers")
        for first in range(1, followers + 1, SEED_STEP):
            await pool.execute(_FOLLOWS, first, min(first + SEED_STEP, followers + 1) - 1, channel_id)
    for table in ("people", "follows", "follower_counts", "preferences", "destinations"):
        await pool.execute(f"VACUUM (ANALYZE) {table}")
    await pool.execute("CHECKPOINT")
