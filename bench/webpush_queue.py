"""Web Push from the queue in Postgres to the sink: what claiming, reading subscriptions and settling add to sending."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.deliveries import open_scene
from bench.report import Say
from notify.deliveries.delivery import Lane
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound
from notify.webpush.channel import PushLimits, WebPushChannel
from notify.webpush.store import Target
from notify.webpush.subscriptions import provider_of
from notify.webpush.vapid import Vapid
from runtime.ids import uuid7
from runtime.postgres import Pool

DELIVERIES = 10_000
WAIT_SECONDS_MAX = 120.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Drained:
    """What it took, in seconds of the clock and of our process's processors."""

    deliveries: int
    seconds: float
    cpu_seconds: float


async def drain(
    directory: Path, say: Say, targets: Sequence[Target], settings: DeliverySettings, vapid: Vapid, limits: PushLimits
) -> Drained:
    """Queue messages for `targets`, and let a worker send them all."""
    outbound = Outbound(settings)
    async with open_scene(directory, say) as scene:
        await _fill(scene.pool, targets)
        worker = DeliveryWorker(scene.pool, WebPushChannel(scene.pool, outbound, vapid, limits), Lane.BULK, settings)
        say(f"draining {DELIVERIES} messages from the queue")
        began, cpu_began = time.perf_counter(), time.process_time()
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while await scene.pool.fetchval("SELECT EXISTS (SELECT FROM deliveries)"):
                if running.done():
                    running.result()
                await asyncio.sleep(POLL_SECONDS)
        took = Drained(DELIVERIES, time.perf_counter() - began, time.process_time() - cpu_began)
        running.cancel()
        await asyncio.wait({running})
        await outbound.close()
        counted = await scene.pool.fetchval(
            "SELECT sum(recipients)::integer FROM fanout_outcomes WHERE outcome = 'delivered'"
        )
    if counted != DELIVERIES:
        raise RuntimeError(f"{counted} of {DELIVERIES} messages were delivered")
    return took


async def _fill(pool: Pool, targets: Sequence[Target]) -> None:
    """The subscriptions, a fan-out, and what its pages leave in the queue."""
    fanout_id = uuid7()
    columns = (
        [one.destination_id for one in targets],
        [one.user_id for one in targets],
        [one.endpoint for one in targets],
    )
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, started_at) "
            "VALUES ($1, 'stream.started', $1, $1, 'somebody', 'Chess with everybody who comes along', now())",
            fanout_id,
        )
        await connection.execute(
            "INSERT INTO destinations (destination_id, user_id, channel, provider) "
            "SELECT d, u, 'webpush', $3 FROM unnest($1::uuid[], $2::uuid[]) AS t (d, u)",
            *columns[:2],
            provider_of(targets[0].endpoint),
        )
        await connection.execute(
            "INSERT INTO push_subscriptions (destination_id, user_id, endpoint, p256dh, auth) "
            "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::bytea[])",
            *columns,
            [one.p256dh for one in targets],
            [one.auth for one in targets],
        )
        await connection.execute(
            "INSERT INTO delivery_queues (channel, lane, source_id) VALUES ('webpush', 'bulk', $1)", fanout_id
        )
        await connection.execute(
            "INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, expires_at) "
            "SELECT q.queue_id, q.source_id, d.user_id, d.destination_id, d.provider, now() + interval '1 hour' "
            "  FROM destinations d, generate_series(1, $1::integer / $2::integer), delivery_queues q",
            DELIVERIES,
            len(targets),
        )
    await pool.execute("ANALYZE deliveries, destinations, push_subscriptions")
