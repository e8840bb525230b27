"""An accounts API on a database of the test's own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from accounts.access_tokens import AccessTokens
from accounts.api import AccountsApi
from accounts.keys import load_signing_keys
from accounts.passwords import Passwords
from accounts.store import AccountStore
from eventbus.outbox import Outbox
from runtime.http_server import HttpServer
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from tests.contract.held_client import HeldClient, held_client
from tests.engines import Database

SECRET = b"k" * 32
PASSWORD = "correct horse"


@dataclass
class Accounts:
    """The API as a client sees it, with its insides at hand."""

    client: HeldClient
    pool: Pool
    passwords: Passwords
    store: AccountStore
    tokens: AccessTokens
    server: HttpServer

    async def register(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """A registered user."""
        answer = await self.client.post("/api/auth/register", json={"username": username, "password": password})
        assert answer.status == 201, answer.body
        body: dict[str, Any] = answer.body
        return body

    async def login(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """The tokens of a login."""
        answer = await self.client.post("/api/auth/login", json={"username": username, "password": password})
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """A pool on the accounts schema."""
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="accounts") as opened:
        yield opened


@pytest.fixture
async def accounts(pool: Pool) -> AsyncIterator[Accounts]:
    """The API with short queues."""
    async with AsyncExitStack() as stack:
        keys = await load_signing_keys(pool, SECRET)
        tokens = AccessTokens(keys, issuer="livestream", lifetime_seconds=600)
        passwords = Passwords(workers=2, queue_max=4)
        stack.callback(passwords.close)
        store = AccountStore(pool, Outbox(pool, source="accounts"), session_idle=timedelta(days=30))
        api = AccountsApi(store, passwords, tokens, keys)
        server = HttpServer([api], settings=HttpSettings(), verifier=tokens)
        client = await stack.enter_async_context(held_client(server, [api]))
        yield Accounts(client, pool, passwords, store, tokens, server)
