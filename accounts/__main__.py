"""`python -m accounts`: the accounts process."""

from contextlib import AsyncExitStack
from datetime import timedelta

from accounts.access_tokens import AccessTokens
from accounts.api import AccountsApi
from accounts.expiry import SessionExpiry
from accounts.keys import load_signing_keys
from accounts.passwords import Passwords
from accounts.settings import AccountsSettings
from accounts.store import AccountStore
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from runtime.assembly import Assembly
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.migrations import wait_until_migrated
from runtime.postgres import open_pool, postgres_check
from runtime.process import run_process
from runtime.supervise import supervise

SCHEMA = "accounts"


async def serve(settings: AccountsSettings) -> None:
    """Open what is needed in order, run the services, close in reverse."""
    async with AsyncExitStack() as stack:
        health = Health()
        bus = await stack.enter_async_context(open_bus(settings))
        accounts = await assemble(stack, settings, bus, health)
        server = HttpServer(accounts.apis, settings=settings, verifier=accounts.verifier, health=health)
        await supervise([server, *accounts.services], stop_grace_seconds=settings.stop_grace_seconds)


async def assemble(stack: AsyncExitStack, settings: AccountsSettings, bus: EventBus, health: Health) -> Assembly:
    """Put the service together; ``stack`` closes what it opens."""
    pool = await stack.enter_async_context(open_pool(settings, schema=SCHEMA))
    await wait_until_migrated(pool, schema=SCHEMA)
    outbox = Outbox(pool, source=SCHEMA)
    keys = await load_signing_keys(pool, settings.key_secret())
    tokens = AccessTokens(keys, issuer=settings.token_issuer, lifetime_seconds=settings.accounts_access_token_seconds)
    passwords = Passwords(workers=settings.accounts_password_workers, queue_max=settings.accounts_password_queue_max)
    stack.callback(passwords.close)
    store = AccountStore(pool, outbox, session_idle=timedelta(days=settings.accounts_session_idle_days))
    health.watch("postgres", postgres_check(pool))
    relay = bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA, health=health)
    api = AccountsApi(store, passwords, tokens, keys)
    return Assembly(apis=[api], services=[relay, SessionExpiry(pool)], verifier=tokens)


if __name__ == "__main__":
    run_process("accounts", AccountsSettings, serve)
