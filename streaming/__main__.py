"""The streaming process: `python -m streaming`."""

from contextlib import AsyncExitStack

from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import open_pool
from runtime.process import run_process
from runtime.supervise import supervise
from runtime.tokens import TokenVerifier
from streaming.api import Channels, LiveStreamsPage, Streams, read_live_streams
from streaming.hooks import HookRules, IngestHooks
from streaming.livelist import LiveList
from streaming.media_server_nginx_rtmp import open_nginx_rtmp
from streaming.publishing import Publishing
from streaming.reaper import Reaper
from streaming.recordings import recordings_subscription
from streaming.settings import StreamingSettings
from streaming.store import make_partitions

SCHEMA = "streaming"


async def serve(settings: StreamingSettings) -> None:
    """Open what the process needs, in order, and run its services until they are stopped."""
    async with AsyncExitStack() as stack:
        health = Health()
        bus = await stack.enter_async_context(open_bus(settings))
        streaming = await assemble(stack, settings, bus, health)
        verifier = TokenVerifier(settings.jwks_url, settings.token_issuer)
        health.watch("signing-keys", verifier.check)
        server = HttpServer(streaming.apis, settings=settings, verifier=verifier, health=health)
        await supervise([server, verifier, *streaming.services], stop_grace_seconds=settings.stop_grace_seconds)


async def assemble(stack: AsyncExitStack, settings: StreamingSettings, bus: EventBus, health: Health) -> Assembly:
    """Put the service together; ``stack`` closes what it opens."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    media_server = await stack.enter_async_context(
        open_nginx_rtmp(
            control_url=settings.streaming_ingest_control_url,
            stat_url=settings.streaming_ingest_stat_url,
            application=settings.streaming_ingest_application,
            seconds_max=settings.streaming_media_server_seconds_max,
        )
    )
    outbox = Outbox(pool, source=SCHEMA)
    live_list: LiveList[LiveStreamsPage] = LiveList(
        lambda key: read_live_streams(pool, key), seconds_max=settings.streaming_live_list_seconds
    )
    publishing = Publishing(
        outbox,
        pool,
        media_server,
        close_seconds_max=settings.streaming_media_server_seconds_max,
        on_change=live_list.forget,
    )
    apis = [
        Channels(pool, public_ingest_url=settings.streaming_public_ingest_url),
        Streams(pool, publishing, live_list),
        IngestHooks(publishing, hook_rules(settings)),
    ]
    reaper = Reaper(
        outbox,
        pool,
        grace_seconds=settings.streaming_grace_seconds,
        silence_seconds=settings.streaming_silence_seconds,
        on_change=live_list.forget,
    )
    relay = bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health)
    recordings = ConsumeLoop(bus, outbox, recordings_subscription(), health=health)
    return Assembly(apis=apis, services=[relay, recordings, reaper, MonthlyPartitions(pool, make_partitions)])


def hook_rules(settings: StreamingSettings) -> HookRules:
    """What the settings say about hooks."""
    return HookRules(
        secret=settings.streaming_ingest_secret,
        application=settings.streaming_ingest_application,
        push_url=settings.streaming_ingest_push_url,
        seconds_max=settings.streaming_hook_seconds_max,
    )


if __name__ == "__main__":
    run_process("streaming", StreamingSettings, serve)
