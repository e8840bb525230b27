"""How fast deliveries are drained when sending costs nothing: what the engine itself costs, recipient by recipient.

Postgres is durable (fsync and synchronous_commit on). One worker in one process; a row for each recipient, which is
claimed, prepared, sent by a channel that does nothing, settled and counted at its fan-out. The peer is BullMQ, on Redis
and in turns with ours in the same run: one job for each recipient, a processor that does nothing, concurrency 200. It
keeps nothing of a job that is done.
"""

import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import psutil
from pydantic import SecretStr

from bench.cores import cpu_seconds
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from notify.deliveries.delivery import ChannelName, Delivered, Delivery, Lane, RetrySchedule, Sending
from notify.deliveries.delivery import Outcome as SendOutcome
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

PORT_BASE = 21_300
DELIVERIES = 100_000
FANOUTS = 4
PROVIDERS = ("fcm.example.org:443", "push.example.com:443", "web.push.example.net:443")
ROUNDS = 3
WAIT_SECONDS_MAX = 120.0
PEER_DIRECTORY = Path(__file__).parent / "bullmq"
PEER_INSTALL_SECONDS_MAX = 180.0

BARS = (Bar("drain_recipients_per_second", ">=", 13_000), Bar("drain_to_bullmq_ratio", ">=", 1))


class NoProvider:
    """A channel that has nothing to do."""

    name = ChannelName.WEBPUSH
    schedule = RetrySchedule(())

    def __init__(self) -> None:
        self.sent = 0

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | SendOutcome]:
        """Ready at once."""
        return {one.delivery_id: self for one in batch}

    async def send(self) -> SendOutcome:
        """Done at once."""
        self.sent += 1
        return Delivered()

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Nothing is ever gone."""

    async def settled(self, outcomes: Sequence[tuple[Delivery, SendOutcome, bool]]) -> None:
        """Nobody listens."""


@dataclass(frozen=True)
class Scene:
    """Engines that run."""

    stack: Stack
    pool: Pool
    redis_url: str

    def engines_cpu_seconds(self) -> float:
        """What Postgres has used so far, all its processes together."""
        process = psutil.Process(self.stack.pid("postgres"))
        return sum(cpu_seconds(one) for one in [process, *process.children(recursive=True)])


async def measure(directory: Path, say: Say) -> Outcome:
    """Drain, and let the peer drain, in turns."""
    ours: list[float] = []
    peers: list[float] = []
    own = engines = 0.0
    async with open_scene(directory, say) as scene:
        has_peer = await _install_peer(say)
        for number in range(1, ROUNDS + 1):
            await _fill(scene.pool)
            before = cpu_seconds(psutil.Process()), scene.engines_cpu_seconds()
            ours.append(await _drain(scene.pool))
            own += cpu_seconds(psutil.Process()) - before[0]
            engines += scene.engines_cpu_seconds() - before[1]
            say(f"round {number}: ours {ours[-1]:,.0f} recipients/s")
            if has_peer:
                peers.append(await _drain_peer(scene.redis_url))
                say(f"round {number}: BullMQ {peers[-1]:,.0f} jobs/s")
    figures = {
        "drain_recipients_per_second": round(statistics.median(ours)),
        "drain_recipients_per_second_min": round(min(ours)),
        "drain_recipients_per_second_max": round(max(ours)),
        "engines_cpu_seconds": round(engines, 2),
    }
    compared = {}
    if peers:
        figures["drain_to_bullmq_ratio"] = round(statistics.median(ours) / statistics.median(peers), 2)
        compared = {"bullmq_jobs_per_second": round(statistics.median(peers))}
        compared |= {"bullmq_min": round(min(peers)), "bullmq_max": round(max(peers))}
    return Outcome(figures, processes=1, cpu_seconds=round(own, 2), peers=compared)


@asynccontextmanager
async def open_scene(directory: Path, say: Say) -> AsyncIterator[Scene]:
    """Postgres with everything migrated, and Redis, below ``directory``; stopped on leaving."""
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ("postgres", "redis"), say=say)
    try:
        environment = stack.environment()
        dsn = SecretStr(await _fresh_database(environment["LIVESTREAM_POSTGRES_DSN"]))
        await migrate(dsn)
        async with open_pool(PostgresSettings(postgres_dsn=dsn), schema="notify") as pool:
            yield Scene(stack, pool, environment["LIVESTREAM_REDIS_URL"])
    finally:
        await asyncio.to_thread(stack.down)


async def _fill(pool: Pool) -> None:
    """Deliveries of some fan-outs to some providers, as pages leave them."""
    fanouts = [uuid7() for _ in range(FANOUTS)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("TRUNCATE deliveries, delivery_queues, fanout_outcomes, fanouts CASCADE")
        await connection.execute(
            "INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, started_at) "
            "SELECT id, 'stream.started', id, id, 'somebody', 'something', now() FROM unnest($1::uuid[]) AS id",
            fanouts,
        )
        await connection.execute(
            "INSERT INTO delivery_queues (channel, lane, source_id) SELECT 'webpush', 'bulk', unnest($1::uuid[])",
            fanouts,
        )
        await connection.execute(
            "INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, expires_at) "
            "SELECT q.queue_id, q.source_id, gen_random_uuid(), gen_random_uuid(), ($2::text[])[1 + n % $3], "
            "       now() + interval '1 hour' "
            "  FROM generate_series(1, $1::integer / $4::integer) AS n, delivery_queues q",
            DELIVERIES,
            PROVIDERS,
            len(PROVIDERS),
            FANOUTS,
        )
    await pool.execute("ANALYZE deliveries")
    await pool.execute("CHECKPOINT")


async def _drain(pool: Pool) -> float:
    """Recipients a second, from the start of the worker to the last settled row."""
    worker = DeliveryWorker(pool, NoProvider(), Lane.BULK, DeliverySettings())
    began = time.perf_counter()
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while await pool.fetchval("SELECT EXISTS (SELECT FROM deliveries)"):
            if running.done():
                running.result()
            await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    running.cancel()
    await asyncio.wait({running})
    counted = await pool.fetchval("SELECT sum(recipients)::integer FROM fanout_outcomes WHERE outcome = 'delivered'")
    if counted != DELIVERIES:
        raise RuntimeError(f"{counted} of {DELIVERIES} recipients were counted")
    return DELIVERIES / took


async def _install_peer(say: Say) -> bool:
    """Have BullMQ in the bench's directory; False, and said, where that cannot be."""
    npm = shutil.which("npm")
    if npm is None:
        say("no npm: the peer is left out, and with it the ratio")
        return False
    if not (PEER_DIRECTORY / "node_modules/bullmq").exists():
        say("installing the peer")
        install = await asyncio.create_subprocess_exec(
            npm,
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            cwd=PEER_DIRECTORY,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(PEER_INSTALL_SECONDS_MAX):
            if await install.wait():
                say("npm could not install the peer: it is left out, and with it the ratio")
                return False
    return True


async def _drain_peer(redis_url: str) -> float:
    """The peer's jobs a second, as its own process says them."""
    peer = await asyncio.create_subprocess_exec(
        "node",
        "drain.js",
        cwd=PEER_DIRECTORY,
        env={**os.environ, "REDIS_URL": redis_url, "JOBS": str(DELIVERIES)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        output, _ = await peer.communicate()
    said: dict[str, float] = json.loads(output)
    return said["jobs_per_second"]


async def _fresh_database(url: str) -> str:
    name = f"bench_deliveries_{datetime.now(UTC):%H%M%S}_{UUID(int=os.getpid()).int}"
    connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


BENCH = Bench(
    name="deliveries",
    description="Drain of 100,000 deliveries that cost nothing to send, beside BullMQ.",
    bars=BARS,
    measure=measure,
)
