"""Postgres: a bounded pool and single connections, both with a search path, timeouts and a name.

`jsonb` travels as text in both directions: models encode and decode themselves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

from runtime.queries import Queries, Query, load_queries
from runtime.settings import PostgresSettings
from runtime.waiting import wait_for

__all__ = ["Connection", "Pool", "Queries", "Query", "connect", "load_queries", "open_pool", "postgres_check"]

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection | PoolConnectionProxy

CONNECT_TIMEOUT_SECONDS = 5.0
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 10  # an idle transaction holds up the outbox cursor of everybody
CONNECTION_IDLE_SECONDS_MAX = 300.0
CLOSE_TIMEOUT_SECONDS = 2.0


def open_pool(settings: PostgresSettings, *, schema: str, stateless: bool = False) -> AbstractAsyncContextManager[Pool]:
    """A pool whose connections see `schema` alone; waits for the server, saying so. Closed on leaving.

    `stateless` connections are not reset when they are given back, which saves a statement each time: for users who run
    single statements, and change nothing of a session.
    """
    return _open_pool(settings, schema, stateless=stateless)


@asynccontextmanager
async def _open_pool(settings: PostgresSettings, schema: str, *, stateless: bool) -> AsyncIterator[Pool]:
    timeout_seconds = settings.postgres_command_timeout_seconds

    async def create() -> Pool:
        return await asyncpg.create_pool(
            settings.postgres_dsn.get_secret_value(),
            min_size=1,
            max_size=settings.postgres_connections_max,
            max_inactive_connection_lifetime=CONNECTION_IDLE_SECONDS_MAX,
            command_timeout=timeout_seconds,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings=_server_settings(schema, timeout_seconds),
            reset=_leave_as_it_is if stateless else None,
        )

    pool = await wait_for("postgres", create)
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await pool.close()
        except TimeoutError:
            # Postgres does not answer, or somebody holds on to a connection; a process must be able to end all the same
            pool.terminate()


async def _leave_as_it_is(_connection: Connection) -> None:
    """Nothing."""


async def connect(
    dsn: SecretStr, *, schema: str, command_timeout_seconds: float = 10.0
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection outside the pool (advisory locks, LISTEN), for the caller to close; does not wait for the server."""
    return await asyncpg.connect(
        dsn.get_secret_value(),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=command_timeout_seconds,
        server_settings=_server_settings(schema, command_timeout_seconds),
    )


def postgres_check(pool: Pool) -> Callable[[], Awaitable[None]]:
    """A readiness check: raises unless Postgres answers through `pool`."""

    async def check() -> None:
        await pool.fetchval("SELECT 1")

    return check


def _server_settings(schema: str, statement_timeout_seconds: float) -> dict[str, str]:
    return {
        "search_path": schema,
        "application_name": f"livestream-{schema}",
        "timezone": "UTC",
        # The server gives up as well, so that a statement whose client has gone does not run on.
        "statement_timeout": f"{int(statement_timeout_seconds * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
    }
