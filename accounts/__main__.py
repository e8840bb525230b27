"""`python -m accounts`: the accounts process."""

from contextlib import AsyncExitStack, ExitStack

from redis.asyncio import Redis

from accounts.api import AccountsApi
from accounts.own_account_api import OwnAccountApi
from accounts.parts import make_parts
from accounts.profiles_api import ProfilesApi
from accounts.settings import AccountsSettings
from accounts.totp_api import TotpApi
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.postgres import open_pool, postgres_check
from runtime.process import run_process
from runtime.redis_client import redis_client
from runtime.supervise import supervise

SCHEMA = "accounts"
APIS = (AccountsApi, OwnAccountApi, TotpApi, ProfilesApi)


async def serve(settings: AccountsSettings) -> None:
    """Open what is needed in order, run the services, close in reverse."""
    async with AsyncExitStack() as stack:
        health = Health()
        # not waited for: profiles are read without it, and logins say themselves that they need it
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        bus = await stack.enter_async_context(open_bus(settings))
        accounts = await assemble(stack, settings, bus, redis, health)
        server = HttpServer(
            accounts.apis,
            settings=settings,
            verifier=accounts.verifier,
            health=health,
            guards=redis_guards(redis, settings),
        )
        await supervise([server, *accounts.services], stop_grace_seconds=settings.stop_grace_seconds)


async def assemble(
    stack: AsyncExitStack, settings: AccountsSettings, bus: EventBus, redis: Redis, health: Health
) -> Assembly:
    """Put the service together; ``stack`` closes what it opens."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    outbox = Outbox(pool, source=SCHEMA)
    parts = await make_parts(stack.enter_context(ExitStack()), settings, pool, redis, outbox)
    health.watch("postgres", postgres_check(pool))
    relay = bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health)
    apis = [api(parts) for api in APIS]
    return Assembly(apis=apis, services=[relay, *parts.services], verifier=parts.tokens)


if __name__ == "__main__":
    run_process("accounts", AccountsSettings, serve)
