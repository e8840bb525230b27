"""`python -m solo`: every service in one process, behind one port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import asyncpg
import structlog
from redis.asyncio import Redis

from accounts.__main__ import assemble as assemble_accounts
from archive.__main__ import assemble_intake, assemble_shipper, assemble_worker, open_shared
from chat.__main__ import assemble as assemble_chat
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from notify.__main__ import assemble as assemble_notify
from runtime.assembly import Assembly
from runtime.guards import redis_guards
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import MigrationError, migrate
from runtime.process import run_process
from runtime.redis_client import redis_client
from runtime.service import CannotServe, Service
from runtime.supervise import supervise
from runtime.tokens import Verifier
from solo.settings import SoloSettings
from streaming.__main__ import assemble as assemble_streaming

log = structlog.get_logger(__name__)


async def serve(settings: SoloSettings, *, extra: Sequence[Service] = ()) -> None:
    """Migrate the database, put every service together, and run them (and ``extra``) until they are stopped.

    Raises CannotServe when the database or a directory is not what the services need.
    """
    await _migrate(settings)
    async with AsyncExitStack() as stack:
        health = Health()
        bus = await stack.enter_async_context(open_bus(settings))
        # not waited for: without Redis everything but chat and live notices works, and they come when Redis does
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        new_stack = await stack.enter_async_context(_closed_side_by_side())
        verifier, parts = await _assemble(new_stack, settings, bus, redis, health)
        apis = [api for part in parts.values() for api in part.apis]
        # one database, so any part that reads from replicas knows how far they must be
        reads = next((part.reads for part in parts.values() if part.reads is not None), None)
        guards = redis_guards(redis, settings)
        server = HttpServer(apis, settings=settings, verifier=verifier, health=health, guards=guards, reads=reads)
        services = [service for name, part in parts.items() for service in part.services_of(name)]
        await supervise(
            [server, *services, *extra],
            stop_grace_seconds=settings.stop_grace_seconds,
            # Without notice: nobody is sent elsewhere. Who chats is served until it is their turn to come back later.
            farewell=partial(server.farewell, 0.0),
        )


async def _migrate(settings: SoloSettings) -> None:
    """Bring the database up to date; whoever has one process need not remember another command."""
    try:
        for applied in await migrate(settings.postgres_dsn):
            log.info("migration_applied", schema=applied.schema, migration=applied.migration)
    except MigrationError as error:
        raise CannotServe(str(error)) from error
    except asyncpg.PostgresError as error:
        raise CannotServe(f"Postgres refuses: {error} (LIVESTREAM_POSTGRES_DSN names it)") from error


@asynccontextmanager
async def _closed_side_by_side() -> AsyncIterator[Callable[[], AsyncExitStack]]:
    """Makes stacks: one after the other, the pools of a Postgres that does not answer would outlast the grace."""
    stacks: list[AsyncExitStack] = []

    def new_stack() -> AsyncExitStack:
        stacks.append(AsyncExitStack())
        return stacks[-1]

    try:
        yield new_stack
    finally:
        await asyncio.gather(*(stack.aclose() for stack in stacks))


async def _assemble(
    new_stack: Callable[[], AsyncExitStack], settings: SoloSettings, bus: EventBus, redis: Redis, health: Health
) -> tuple[Verifier, Mapping[str, Assembly]]:
    """Every part by its name, and what verifies access tokens for all of them."""
    try:
        accounts = await assemble_accounts(new_stack(), settings, bus, redis, health.within("accounts"))
        verifier = accounts.verifier
        assert verifier is not None  # noqa: S101  accounts signs the tokens
        shared = await open_shared(new_stack(), settings)
        return verifier, {
            "accounts": accounts,
            "streaming": await assemble_streaming(
                new_stack(), settings, bus, redis, verifier, health.within("streaming")
            ),
            "notify": await assemble_notify(new_stack(), settings, bus, redis, verifier, health.within("notify")),
            "chat": await assemble_chat(new_stack(), settings, bus, redis, verifier, health.within("chat")),
            "archive": await assemble_intake(settings, shared, bus, health.within("archive")),
            "archive-shipper": await assemble_shipper(settings, shared, health.within("archive-shipper")),
            "archive-worker": await assemble_worker(settings, shared, health.within("archive-worker")),
        }
    except OSError as error:
        if error.filename is None:
            raise
        raise CannotServe(f"{error.filename}: {error.strerror}") from error


if __name__ == "__main__":
    run_process("solo", SoloSettings, serve)
