"""The process `chat`: one WebSocket gateway, and a member of the group that keeps the rooms."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog
from redis.asyncio import Redis

from chat.brokers.broker import Retention
from chat.brokers.broker_redis import RedisBroker
from chat.extras.extras import assemble_announcements, assemble_emotes, assemble_polls, assemble_presence
from chat.irc.part import assemble_irc
from chat.log.part import assemble_log
from chat.moderation.held import HeldMessages
from chat.moderation.part import assemble_moderation
from chat.moderation.people import PostgresPeople
from chat.parts import ChatParts
from chat.people.part import assemble_people
from chat.replay.part import assemble_replay
from chat.rooms.channels import Channels
from chat.rooms.directory import Directory
from chat.rooms.room import RoomLimits
from chat.rooms.rooms import Rooms
from chat.rooms.signals import Signals
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.sockets.fanout import SEND_LOOP
from chat.sockets.gateway import Gateway
from chat.speaking.composing import EntryComposer
from chat.speaking.gatekeeper import RulesGatekeeper
from chat.speaking.mentions import Mentions
from chat.speaking.speaking import Speaking
from chat.speaking.standing import PostgresStandings
from chat.store import find_facts, find_versions
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.client_address import ClientAddresses
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.postgres import open_pool
from runtime.process import run_process
from runtime.redis_client import redis_client
from runtime.supervise import supervise
from runtime.tokens import TokenVerifier, Verifier
from runtime.websockets import AllowedOrigins

log = structlog.get_logger(__name__)

SCHEMA = "chat"

PARTS: Sequence[Callable[[ChatParts], Assembly]] = (
    assemble_moderation,
    assemble_log,
    assemble_replay,
    assemble_presence,
    assemble_emotes,
    assemble_polls,
    assemble_announcements,
    assemble_irc,
    assemble_people,
)
"""What else chat does, each part put together by a function of its own."""


async def serve(settings: ChatSettings) -> None:
    """Wire the gateway and run it."""
    async with AsyncExitStack() as stack:
        health = Health()
        # not waited for: a gateway without Redis says so to whoever joins, and works when Redis is there
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        bus = await stack.enter_async_context(open_bus(settings))
        verifier = TokenVerifier(settings.jwks_url, settings.token_issuer)
        health.watch("signing-keys", verifier.check)
        chat = await assemble(stack, settings, bus, redis, verifier, health)
        guards = redis_guards(redis, settings)
        server = HttpServer(chat.apis, settings=settings, verifier=verifier, health=health, guards=guards)
        await supervise(
            [*chat.services, verifier, server],
            stop_grace_seconds=settings.stop_grace_seconds,
            farewell=partial(server.farewell, settings.chat_drain_notice_seconds),
        )


async def assemble(
    stack: AsyncExitStack, settings: ChatSettings, bus: EventBus, redis: Redis, verifier: Verifier, health: Health
) -> Assembly:
    """Put the gateway and what keeps its rooms together; ``stack`` closes what it opens."""
    log.info("chat_send_loop", language=SEND_LOOP)
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    broker = RedisBroker(redis, Retention(entry_seconds=settings.chat_history_seconds))
    limits = RoomLimits(tick_seconds=settings.chat_tick_seconds, recovery_seconds_max=settings.chat_history_seconds)
    directory = Directory(partial(find_facts, pool), partial(find_versions, pool))
    rooms = Rooms(broker, directory, limits)
    signals = Signals(broker)
    outbox = Outbox(pool, source=SCHEMA)
    standings, composer = PostgresStandings(pool), EntryComposer(Mentions(pool).find)
    gatekeeper = RulesGatekeeper(
        messages_per_minute=settings.chat_messages_per_minute,
        standings=standings,
        holding=HeldMessages(outbox, signals, held_seconds=settings.chat_held_seconds),
        people=PostgresPeople(pool),
    )
    speaking = Speaking(broker, standings, gatekeeper, composer)
    admission = _admission(settings)
    gateway = Gateway(settings, admission, rooms, speaking, verifier)
    health.watch("redis", broker.check)
    channels = ConsumeLoop(bus, outbox, Channels(signals).subscription(), health=health)
    relay = bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health)
    core = Assembly(apis=[gateway], services=[broker, rooms, signals, channels, relay])
    common = ChatParts(
        settings=settings,
        pool=pool,
        redis=redis,
        bus=bus,
        outbox=outbox,
        health=health,
        broker=broker,
        signals=signals,
        directory=directory,
        rooms=rooms,
        speaking=speaking,
        composer=composer,
        standings=standings,
        verifier=verifier,
        admission=admission,
    )
    parts = [core, *(assemble_part(common) for assemble_part in PARTS)]
    return Assembly(
        apis=[api for part in parts for api in part.apis],
        services=[service for part in parts for service in part.services],
    )


def _admission(settings: ChatSettings) -> Admission:
    return Admission(
        origins=AllowedOrigins(settings.public_url, settings.chat_origins),
        addresses=ClientAddresses(settings.http_trusted_proxies),
        connections_max=settings.chat_connections_max,
        connections_per_address_max=settings.chat_connections_per_address_max,
        connections_per_user_max=settings.chat_connections_per_user_max,
    )


if __name__ == "__main__":
    run_process("chat", ChatSettings, serve)
