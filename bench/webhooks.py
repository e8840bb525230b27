"""How many webhooks a process posts: signed, logged, through the delivery engine on durable Postgres, to a local sink.

Ours is everything between the event and the log: messages are made of events as the consumer group does it (timed
apart), then one worker claims, signs, posts, and notes every attempt. All endpoints are at one host, so the posts at
once are those that one host gets. The sink is a process of its own. The limit, in turns in the same run: the same
posts, signed before, by a plain aiohttp loop with as many at once, which keeps nothing.
"""

import asyncio
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import psutil
import structlog

from bench.deliveries import Scene, open_scene
from bench.report import Bar, Bench, Outcome, Say
from bench.webpush import running_sink
from eventbus.outbox import Outbox
from events import Envelope, FollowCreated
from notify.deliveries.delivery import Lane
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound
from notify.webhooks import payloads
from notify.webhooks.channel import WebhookChannel
from notify.webhooks.endpoints import Endpoints, NewEndpoint
from notify.webhooks.intake import WebhookIntake
from notify.webhooks.part import SEND_SHARE
from notify.webhooks.sealing import Seal
from notify.webhooks.settings import WebhookSettings
from notify.webhooks.signing import new_secret, signed_headers
from notify.webhooks.urls import parse_url
from runtime.ids import uuid7
from runtime.postgres import Pool

PEOPLE = 20
ENDPOINTS_EACH = 10
ROUND_MESSAGES = 10_000
EVENTS_A_TRANSACTION = 100
ROUNDS = 3
WAIT_SECONDS_MAX = 120.0
PUBLIC_URL = "https://live.example.org"

BARS = (Bar("posts_per_second", ">=", 1_000),)


class Settings(WebhookSettings, DeliverySettings):
    """Those of the parts that post."""


@dataclass(frozen=True)
class Took:
    """What a round took, in seconds of the clock and of our process's processors."""

    intake_seconds: float
    drain_seconds: float
    cpu_seconds: float


async def measure(directory: Path, say: Say) -> Outcome:
    """Post, and let the plain loop post, in turns."""
    rounds: list[Took] = []
    plain: list[float] = []
    engines = 0.0
    # what is made for the bench is no news
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with open_scene(directory, say) as scene, running_sink() as (_, port):
        settings = _settings()
        seal = Seal(settings.sealing_secret() or b"")
        channels = await _make_endpoints(scene.pool, seal, port)
        for number in range(1, ROUNDS + 1):
            before = scene.engines_cpu_seconds()
            rounds.append(await _round(scene, settings, seal, channels))
            engines += scene.engines_cpu_seconds() - before
            say(f"round {number}: ours {ROUND_MESSAGES / rounds[-1].drain_seconds:,.0f} posts/s")
            plain.append(await _plain_loop(settings, port))
            say(f"round {number}: a plain loop {plain[-1]:,.0f} posts/s")
    ours = [ROUND_MESSAGES / one.drain_seconds for one in rounds]
    cpu_seconds = sum(one.cpu_seconds for one in rounds)
    figures = {
        "posts_per_second": round(statistics.median(ours)),
        "posts_per_second_min": round(min(ours)),
        "posts_per_second_max": round(max(ours)),
        "posts_per_core_second": round(ROUNDS * ROUND_MESSAGES / cpu_seconds),
        "intake_messages_per_second": round(statistics.median(ROUND_MESSAGES / one.intake_seconds for one in rounds)),
        "posts_at_once": settings.notify_webhook_sends_per_host_max,
        "engines_cpu_seconds": round(engines, 2),
    }
    limit = {
        "plain_aiohttp_posts_per_second": round(statistics.median(plain)),
        "posts_to_plain_aiohttp_ratio": round(statistics.median(ours) / statistics.median(plain), 2),
    }
    return Outcome(figures, processes=1, cpu_seconds=round(cpu_seconds, 2), peers=limit)


def _settings() -> Settings:
    return Settings.model_validate(
        {
            "public_url": PUBLIC_URL,
            "notify_sealing_secret": "A" * 43,
            "notify_outbound_allow": ["127.0.0.0/8"],
        }
    )


async def _make_endpoints(pool: Pool, seal: Seal, port: int) -> Sequence[UUID]:
    """People, each with as many endpoints as one may have; their ids, which are their channels'."""
    endpoints = Endpoints(pool, seal, endpoints_per_user_max=ENDPOINTS_EACH)
    channels = [uuid7() for _ in range(PEOPLE)]
    for channel in channels:
        for number in range(ENDPOINTS_EACH):
            url = parse_url(f"http://127.0.0.1:{port}/hooks/{channel}/{number}", None)
            await endpoints.create(channel, NewEndpoint(url, ["follow.*"], "", None, None))
    return channels


async def _round(scene: Scene, settings: Settings, seal: Seal, channels: Sequence[UUID]) -> Took:
    await scene.pool.execute("TRUNCATE webhook_messages, webhook_attempts, deliveries CASCADE")
    began = time.perf_counter()
    await _take_in(scene.pool, channels)
    intake_seconds = time.perf_counter() - began
    await scene.pool.execute("ANALYZE deliveries, webhook_messages")
    await scene.pool.execute("CHECKPOINT")
    before = _cpu_seconds()
    return Took(intake_seconds, await _drain(scene.pool, settings, seal), _cpu_seconds() - before)


async def _take_in(pool: Pool, channels: Sequence[UUID]) -> None:
    """Events of the channels in turns, applied as the consumer group applies them."""
    intake = WebhookIntake(endpoints_max=ENDPOINTS_EACH, public_url=PUBLIC_URL)
    outbox = Outbox(pool, source="notify")
    events = ROUND_MESSAGES // ENDPOINTS_EACH
    for first in range(0, events, EVENTS_A_TRANSACTION):
        async with outbox.transaction() as transaction:
            for number in range(first, first + EVENTS_A_TRANSACTION):
                await intake.on_event(transaction, _event(channels[number % PEOPLE]))


def _event(channel: UUID) -> Envelope[payloads.ChannelEvent]:
    now = datetime.now(UTC)
    event = FollowCreated(channel_id=channel, follower_id=uuid7(), follower_name="somebody", followed_at=now)
    return Envelope(id=uuid7(), source="notify", time=now, event=event)


async def _drain(pool: Pool, settings: Settings, seal: Seal) -> float:
    """Seconds from the start of the worker to the last message noted as delivered and its delivery forgotten."""
    outbound = Outbound(settings)
    channel = WebhookChannel(
        pool,
        outbound,
        seal,
        send_seconds_max=settings.notify_delivery_send_seconds_max * SEND_SHARE,
        disable_after=timedelta(hours=1),
    )
    sends = {
        "notify_delivery_sends_max": settings.notify_webhook_sends_max,
        "notify_delivery_sends_per_provider_max": settings.notify_webhook_sends_per_host_max,
    }
    worker = DeliveryWorker(pool, channel, Lane.BULK, settings.model_copy(update=sends))
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
    await outbound.close()
    logged = await pool.fetchval(
        "SELECT count(*) FROM webhook_messages JOIN webhook_attempts USING (endpoint_id, message_id)"
        " WHERE state = 'delivered' AND attempts = 1 AND status = 201"
    )
    if logged != ROUND_MESSAGES:
        raise RuntimeError(f"{logged} of {ROUND_MESSAGES} messages were delivered by one logged attempt")
    return took


async def _plain_loop(settings: Settings, port: int) -> float:
    """Posts a second of a loop that does nothing else."""
    body = payloads.event_body(_event(uuid7()))
    headers = {"Content-Type": "application/json", **signed_headers(uuid7(), datetime.now(UTC), body, [new_secret()])}
    posts = iter(range(ROUND_MESSAGES))

    async def post(session: aiohttp.ClientSession) -> None:
        for _ in posts:
            async with session.post(f"http://127.0.0.1:{port}/hooks/plain", data=body, headers=headers) as answer:
                await answer.read()

    began = time.perf_counter()
    async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT_SECONDS_MAX), asyncio.TaskGroup() as group:
        for _ in range(settings.notify_webhook_sends_per_host_max):
            group.create_task(post(session))
    return ROUND_MESSAGES / (time.perf_counter() - began)


def _cpu_seconds() -> float:
    used = psutil.Process().cpu_times()
    return used.user + used.system


BENCH = Bench(
    name="webhooks",
    description="Signed webhooks posted to a local sink and logged, by one process; a plain aiohttp loop beside it.",
    bars=BARS,
    measure=measure,
)
