"""The streaming process: `python -m streaming`."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import open_pool
from runtime.process import run_process
from runtime.read_pool import open_read_pool
from runtime.redis_batches import RedisBatches
from runtime.redis_client import redis_client
from runtime.supervise import supervise
from runtime.tokens import TokenVerifier, Verifier
from streaming.channels.part import assemble_channels
from streaming.ingest.hooks import HookRules, IngestHooks
from streaming.lifecycle.part import assemble_reconciler
from streaming.lifecycle.publishing import Publishing
from streaming.lifecycle.reaper import Reaper
from streaming.parts import StreamingParts
from streaming.people.part import assemble_people
from streaming.reads.livelist import LiveList
from streaming.reads.part import assemble_reads
from streaming.recordings import recordings_subscription
from streaming.retention.part import assemble_retention
from streaming.servers.registry import hooked_servers, open_media_servers, playback_addresses
from streaming.settings import StreamingSettings
from streaming.store import make_partitions
from streaming.streams.lists import StreamsQuery, read_streams
from streaming.streams.part import assemble_streams
from streaming.streams.views import LiveStreamsPage
from streaming.viewers.audience import Audience
from streaming.viewers.counts import ViewerCounts
from streaming.viewers.part import assemble_viewers

SCHEMA = "streaming"

PARTS: Sequence[Callable[[StreamingParts], Assembly]] = (
    assemble_reconciler,
    assemble_channels,
    assemble_streams,
    assemble_reads,
    assemble_retention,
    assemble_people,
    assemble_viewers,
)
"""What streaming does beside the life of streams, each part put together by a function of its own."""


async def serve(settings: StreamingSettings) -> None:
    """Open what the process needs, in order, and run its services until they are stopped."""
    async with AsyncExitStack() as stack:
        health = Health()
        bus = await stack.enter_async_context(open_bus(settings))
        # not waited for: without Redis streams start, run and end, and what needs it comes when Redis does
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        verifier = TokenVerifier(settings.jwks_url, settings.token_issuer)
        streaming = await assemble(stack, settings, bus, redis, verifier, health)
        health.watch("signing-keys", verifier.check)
        server = HttpServer(
            streaming.apis,
            settings=settings,
            verifier=verifier,
            health=health,
            guards=redis_guards(redis, settings),
            reads=streaming.reads,
        )
        await supervise([server, verifier, *streaming.services], stop_grace_seconds=settings.stop_grace_seconds)


async def assemble(
    stack: AsyncExitStack, settings: StreamingSettings, bus: EventBus, redis: Redis, verifier: Verifier, health: Health
) -> Assembly:
    """Put the service together; ``stack`` closes what it opens."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    partitions = MonthlyPartitions(pool, make_partitions)
    await partitions.make()  # before the first stream and its figures: rows in the default one are in its way
    outbox = Outbox(pool, source=SCHEMA)
    reads = await stack.enter_async_context(open_read_pool(settings, pool, schema=SCHEMA))
    viewer_counts = ViewerCounts(RedisBatches(redis), viewers_of_address_max=settings.streaming_viewers_of_address_max)
    audience = Audience(viewer_counts)
    live_list: LiveList[StreamsQuery, LiveStreamsPage] = LiveList(
        audience.showing(playback_addresses(settings).corrected(read_streams)),
        primary=pool,
        replicas=reads,
        seconds_max=settings.streaming_live_list_seconds,
    )
    media_servers = await open_media_servers(stack, settings)
    publishing = Publishing(
        outbox,
        pool,
        media_servers,
        close_seconds_max=settings.streaming_media_server_seconds_max,
        on_change=live_list.forget,
    )
    common = StreamingParts(
        settings=settings,
        pool=pool,
        reads=reads,
        redis=redis,
        bus=bus,
        outbox=outbox,
        health=health,
        verifier=verifier,
        media_servers=media_servers,
        publishing=publishing,
        live_list=live_list,
        viewer_counts=viewer_counts,
        audience=audience,
    )
    parts = [_core(common, partitions), *(assemble_part(common) for assemble_part in PARTS)]
    return Assembly(
        apis=[api for part in parts for api in part.apis],
        services=[service for part in parts for service in part.services],
        reads=reads,
    )


def _core(parts: StreamingParts, partitions: MonthlyPartitions) -> Assembly:
    """The life of streams: hooks, the reaper, what is said and what is heard."""
    settings = parts.settings
    reaper = Reaper(
        parts.outbox,
        parts.pool,
        grace_seconds=settings.streaming_grace_seconds,
        silence_seconds=settings.streaming_silence_seconds,
        on_change=parts.live_list.forget,
    )
    relay = parts.bus.relay(settings.postgres_dsn, parts.outbox, schema=SCHEMA, health=parts.health)
    recordings = ConsumeLoop(parts.bus, parts.outbox, recordings_subscription(), health=parts.health)
    return Assembly(
        apis=[IngestHooks(parts.publishing, hook_rules(settings))],
        services=[relay, recordings, reaper, partitions],
    )


def hook_rules(settings: StreamingSettings) -> HookRules:
    """What the settings say about hooks."""
    return HookRules(hooked_servers(settings), seconds_max=settings.streaming_hook_seconds_max)


if __name__ == "__main__":
    run_process("streaming", StreamingSettings, serve)
