"""The notify process: `python -m notify`."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop
from eventbus.outbox import Outbox
from notify.announcer import Announcer, RedisChannels
from notify.deliveries.doorbell import Doorbell
from notify.deliveries.part import assemble_deliveries
from notify.fanout_part import open_fanouts, open_page_outbox
from notify.fanout_steering import Steering
from notify.fanouts_api import FanoutsApi
from notify.live_part import assemble_live
from notify.live_registry import LiveRegistry
from notify.mail.part import assemble_mail
from notify.parts import NotifyParts
from notify.people.part import assemble_erasures
from notify.people_part import assemble_people
from notify.settings import NotifySettings
from notify.store import make_partitions
from notify.subscriptions import page_subscription, subscriptions
from notify.webhooks.part import assemble_webhooks
from notify.webpush.part import assemble_webpush
from runtime.assembly import Assembly
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import open_pool, postgres_check
from runtime.process import run_process
from runtime.read_pool import open_read_pool
from runtime.redis_client import redis_client
from runtime.supervise import supervise
from runtime.tokens import TokenVerifier, Verifier

SCHEMA = "notify"

PARTS: Sequence[Callable[[NotifyParts], Assembly]] = (
    assemble_live,
    assemble_people,
    assemble_webpush,
    assemble_mail,
    assemble_webhooks,
    assemble_deliveries,
    assemble_erasures,
)
"""What else notify does, each part put together by a function of its own."""


async def serve(settings: NotifySettings) -> None:
    """Open what the process needs, in order, and run its services until they are stopped."""
    async with AsyncExitStack() as stack:
        health = Health()
        bus = await stack.enter_async_context(open_bus(settings))
        # not waited for: without Redis everything but the live lane works, and that comes when Redis does
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        verifier = TokenVerifier(settings.jwks_url, settings.token_issuer)
        notify = await assemble(stack, settings, bus, redis, verifier, health)
        health.watch("signing-keys", verifier.check)
        guards = redis_guards(redis, settings)
        server = HttpServer(
            notify.apis, settings=settings, verifier=verifier, health=health, guards=guards, reads=notify.reads
        )
        await supervise([server, *notify.services, verifier], stop_grace_seconds=settings.stop_grace_seconds)


async def assemble(
    stack: AsyncExitStack, settings: NotifySettings, bus: EventBus, redis: Redis, verifier: Verifier, health: Health
) -> Assembly:
    """Put the service together; ``stack`` closes what it opens."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    reads = await stack.enter_async_context(open_read_pool(settings, pool, schema=SCHEMA))
    partitions = MonthlyPartitions(pool, make_partitions)
    await partitions.make()  # before the first notice, which else would go to the partition for the others
    health.watch("postgres", postgres_check(pool))
    outbox = Outbox(pool, source=SCHEMA)
    channels = RedisChannels(settings.notify_redis_prefix)
    announcer = Announcer(redis, channels, publish_seconds_max=settings.notify_live_publish_seconds_max)
    registry = LiveRegistry(
        connections_max=settings.notify_live_connections_max,
        connections_per_user_max=settings.notify_live_connections_per_user_max,
    )
    doorbell = Doorbell()
    fanouts = await open_fanouts(stack, settings, announcer, doorbell)
    apis = [FanoutsApi(pool, Steering(outbox, fanouts))]
    relay = bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health)
    loops = [ConsumeLoop(bus, outbox, wanted, health=health) for wanted in subscriptions(fanouts)]
    pages = await open_page_outbox(stack, settings, outbox)
    loops.append(ConsumeLoop(bus, pages, page_subscription(fanouts), health=health))
    core = Assembly(apis=apis, services=[announcer, relay, *loops, partitions, reads])
    common = NotifyParts(
        settings=settings,
        pool=pool,
        reads=reads,
        redis=redis,
        bus=bus,
        outbox=outbox,
        health=health,
        announcer=announcer,
        registry=registry,
        doorbell=doorbell,
        verifier=verifier,
    )
    parts = [core, *(assemble_part(common) for assemble_part in PARTS)]
    return Assembly(
        apis=[api for part in parts for api in part.apis],
        services=[service for part in parts for service in part.services],
        reads=reads,
    )


if __name__ == "__main__":
    run_process("notify", NotifySettings, serve)
