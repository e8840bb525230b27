"""Webhooks in the test's own process: their API, their consumer group and their worker, and people who use them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
from standardwebhooks.webhooks import Webhook

from eventbus.bus import Record
from eventbus.bus_memory import MemoryBus
from eventbus.outbox import Outbox
from events import TOPICS, Envelope, Event, encode, topic_of
from notify.announcer import Announcer, RedisChannels
from notify.deliveries.doorbell import Doorbell
from notify.live_registry import LiveRegistry
from notify.parts import NotifyParts
from notify.settings import NotifySettings
from notify.webhooks.part import assemble_webhooks
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.postgres import Pool
from runtime.read_pool import ReadPool
from runtime.redis_client import redis_client
from runtime.supervise import supervise
from tests.engines import Database
from tests.integration.notify.processes import NamesInTokens, Person, RunningNotify, eventually
from tests.integration.notify.sink import Post

SEALING_SECRET = "c2VhbGluZy1zZWNyZXQtb2YtdGhlLXRlc3RzLTMyYnk"  # 32 bytes


def settings_of(database: Database, **overrides: object) -> NotifySettings:
    """The settings of a process with webhooks, which may post to this machine."""
    values: dict[str, object] = {
        "kafka_bootstrap_servers": "unused:1",
        "jwks_url": "http://unused/jwks.json",
        "public_url": "https://live.example.org",
        "postgres_dsn": database.dsn,
        "redis_url": "redis://unused:1/0",
        "http_port": 0,
        "stop_grace_seconds": 4.0,
        "notify_sealing_secret": SEALING_SECRET,
        "notify_outbound_allow": ["127.0.0.0/8"],
        "notify_delivery_send_seconds_max": 10.0,
        "notify_delivery_poll_seconds_max": 0.1,
        **overrides,
    }
    return NotifySettings.model_validate(values)


@dataclass
class Webhooks(RunningNotify):
    """A process with webhooks and nothing else of notify."""

    async def create(self, person: Person, url: str, **rest: object) -> dict[str, Any]:
        """A new webhook, as its owner is shown it once."""
        status, body = await self.call("POST", "/api/webhooks", person, json={"url": url, **rest})
        assert status == 201, body
        made: dict[str, Any] = body
        return made

    async def show(self, person: Person, webhook: dict[str, Any]) -> dict[str, Any]:
        status, body = await self.call("GET", f"/api/webhooks/{webhook['webhook_id']}", person)
        assert status == 200, body
        shown: dict[str, Any] = body
        return shown

    async def messages(self, person: Person, webhook: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        status, body = await self.call("GET", f"/api/webhooks/{webhook['webhook_id']}/messages{query}", person)
        assert status == 200, body
        items: list[dict[str, Any]] = body["items"]
        return items

    async def message(self, person: Person, webhook: dict[str, Any], message_id: str) -> dict[str, Any]:
        path = f"/api/webhooks/{webhook['webhook_id']}/messages/{message_id}"
        status, body = await self.call("GET", path, person)
        assert status == 200, body
        found: dict[str, Any] = body
        return found

    async def say(self, *events: Event) -> list[UUID]:
        """Publish events; their ids."""
        envelopes = [Envelope(id=uuid7(), source="test", time=datetime.now(UTC), event=event) for event in events]
        await self.repeat(envelopes)
        return [one.id for one in envelopes]

    async def repeat(self, envelopes: list[Envelope[Any]]) -> None:
        """Publish events under ids that they may have had before."""
        await self.bus.publish([Record(topic_of(one.event).name, *encode(one)) for one in envelopes])

    async def settled(self, person: Person, webhook: dict[str, Any], message_id: UUID) -> dict[str, Any]:
        """The message when it was attempted and its state is final, or at least noted once."""

        async def is_noted() -> bool:
            found = await self.messages(person, webhook)
            return any(one["message_id"] == str(message_id) and one["attempts"] > 0 for one in found)

        await eventually(is_noted)
        return await self.message(person, webhook, str(message_id))


def new_bus() -> MemoryBus:
    """A bus with every topic of the contract."""
    return MemoryBus({topic.name: topic.partitions for topic in TOPICS})


@asynccontextmanager
async def running_webhooks(settings: NotifySettings, pool: Pool, bus: MemoryBus) -> AsyncIterator[Webhooks]:
    """The process, up to its answering."""
    health, redis = Health(), redis_client(settings)
    parts = NotifyParts(
        settings=settings,
        pool=pool,
        reads=ReadPool(pool),
        redis=redis,
        bus=bus,
        outbox=Outbox(pool, source="notify"),
        health=health,
        announcer=Announcer(redis, RedisChannels("unused"), publish_seconds_max=1.0),
        registry=LiveRegistry(connections_max=1, connections_per_user_max=1),
        doorbell=Doorbell(),
        verifier=NamesInTokens(),
    )
    assembly = assemble_webhooks(parts)
    server = HttpServer(assembly.apis, settings=settings, verifier=NamesInTokens(), health=health)
    running = asyncio.create_task(supervise([server, *assembly.services], stop_grace_seconds=4.0))
    try:
        async with aiohttp.ClientSession() as session:
            port = await asyncio.wait_for(server.listening(), 15)
            yield Webhooks(f"http://127.0.0.1:{port}", session, pool, bus, running)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await redis.aclose()
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error


def verified(post: Post, secret: str) -> dict[str, Any]:
    """What a receiver reads, once its library has verified the signature."""
    payload: dict[str, Any] = Webhook(secret).verify(post.body, post.headers)
    return payload


async def make_due(pool: Pool) -> None:
    """Let every retry that waits come up now."""
    await pool.execute("UPDATE deliveries SET due_at = now() WHERE lease IS NULL AND due_at > now()")
