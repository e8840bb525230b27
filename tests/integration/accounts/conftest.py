"""An accounts API on a database of the test's own."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from accounts.__main__ import APIS
from accounts.parts import AccountsParts, make_parts
from accounts.settings import AccountsSettings
from eventbus.outbox import Outbox
from runtime.http_server import HttpServer
from runtime.postgres import Pool, open_pool
from runtime.redis_client import redis_client
from runtime.settings import HttpSettings, PostgresSettings
from tests.contract.held_client import Answer, HeldClient, held_client
from tests.engines import Database

SECRET = b"k" * 32
PASSWORD = "correct horse"
CODES_AT = 1_800_000_000.0
"""The moment at which all codes of second factors are made and looked at, however long a test takes."""
CACHE_SECONDS_MAX = 10.0
"""So that a busy machine passes no profile by the cache."""


@dataclass
class Accounts:
    """The API as a client sees it, with its insides at hand."""

    client: HeldClient
    pool: Pool
    redis: Redis
    cache_prefix: str
    parts: AccountsParts
    server: HttpServer

    async def register(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """A registered user."""
        answer = await self.client.post("/api/auth/register", json={"username": username, "password": password})
        assert answer.status == 201, answer.body
        body: dict[str, Any] = answer.body
        return body

    async def try_login(self, username: str = "ann", password: str = PASSWORD, **rest: str) -> Answer:
        """What a login is answered."""
        return await self.client.post("/api/auth/login", json={"username": username, "password": password, **rest})

    async def login(self, username: str = "ann", password: str = PASSWORD, **rest: str) -> dict[str, Any]:
        """The tokens of a login."""
        answer = await self.try_login(username, password, **rest)
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body

    async def token(self, username: str = "ann") -> str:
        """An access token of somebody who has just registered."""
        await self.register(username)
        token: str = (await self.login(username))["access_token"]
        return token

    async def refresh(self, refresh_token: str) -> Answer:
        """What a refresh is answered."""
        return await self.client.post("/api/auth/refresh", json={"refresh_token": refresh_token})

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What was said after the registrations."""
        rows = await self.pool.fetch("SELECT type, data FROM outbox WHERE type <> 'account.registered' ORDER BY id")
        return [(row["type"], from_json(row["data"])) for row in rows]


def from_json(content: bytes) -> dict[str, Any]:
    """An event's data."""
    read: dict[str, Any] = json.loads(content)
    return read


def settings(database: Database, redis_url: str, **rest: Any) -> AccountsSettings:  # noqa: ANN401  fields of all kinds
    """Settings with short queues."""
    values: dict[str, Any] = {
        "postgres_dsn": SecretStr(database.url),
        "redis_url": SecretStr(redis_url),
        "bus_backend": "postgres",
        "accounts_key_secret": SecretStr(base64.urlsafe_b64encode(SECRET).decode()),
        "accounts_password_workers": 2,
        "accounts_password_queue_max": 4,
        **rest,
    }
    return AccountsSettings(**values)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """A pool on the accounts schema."""
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="accounts") as opened:
        yield opened


@pytest.fixture
async def accounts(pool: Pool, database: Database, redis_url: str, redis_prefix: str) -> AsyncIterator[Accounts]:
    """The API with short queues."""
    async with AsyncExitStack() as stack:
        told = settings(database, redis_url)
        redis = redis_client(told)
        stack.push_async_callback(redis.aclose)
        outbox = Outbox(pool, source="accounts")
        parts = await make_parts(
            stack.enter_context(ExitStack()),
            told,
            pool,
            redis,
            outbox,
            redis_prefix=redis_prefix,
            cache_seconds_max=CACHE_SECONDS_MAX,
            now=lambda: CODES_AT,
        )
        apis = [api(parts) for api in APIS]
        server = HttpServer(apis, settings=HttpSettings(), verifier=parts.tokens)
        client = await stack.enter_async_context(held_client(server, apis))
        yield Accounts(client, pool, redis, f"{redis_prefix}accounts:profile", parts, server)
