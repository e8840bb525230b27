"""Postgres: a bounded pool and single connections, both with a search path, timeouts and a name.

`jsonb` travels as text in both directions: models encode and decode themselves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

from runtime.queries import Queries, Query, load_queries
from runtime.settings import PostgresSettings
from runtime.slow_queries import SLOW_SECONDS_DEFAULT, TimedConnection
from runtime.waiting import wait_for

__all__ = [
    "Connection",
    "Pool",
    "Queries",
    "Query",
    "connect",
    "load_queries",
    "open_lazy_pool",
    "open_pool",
    "postgres_check",
]

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    _Lent: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection | PoolConnectionProxy
    _Lent = PoolConnectionProxy

CONNECT_TIMEOUT_SECONDS = 5.0
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 10  # an idle transaction holds up the outbox cursor of everybody
CONNECTION_IDLE_SECONDS_MAX = 300.0
CONNECTION_STATEMENTS_MAX = 50_000
CLOSE_TIMEOUT_SECONDS = 1.0
CANCELLED_SECONDS_MAX = 1.0
"""How long a cancelled task waits for Postgres to end what it had asked for; then the connection is cut off."""


def open_pool(settings: PostgresSettings, *, schema: str, stateless: bool = False) -> AbstractAsyncContextManager[Pool]:
    """A pool whose connections see `schema` alone; waits for the server, saying so. Closed on leaving.

    `stateless` connections are not reset when they are given back, which saves a statement each time: for users who run
    single statements, and change nothing of a session.
    """
    return _open_pool(settings, schema, stateless=stateless)


@asynccontextmanager
async def _open_pool(settings: PostgresSettings, schema: str, *, stateless: bool) -> AsyncIterator[Pool]:
    async def create() -> Pool:
        return await _pool(
            settings.postgres_dsn,
            schema,
            connections_max=settings.postgres_connections_max,
            timeout_seconds=settings.postgres_command_timeout_seconds,
            slow_query_seconds=settings.postgres_slow_query_seconds,
            connections_min=1,
            stateless=stateless,
        )

    pool = await wait_for("postgres", create)
    try:
        yield pool
    finally:
        await _close(pool)


@asynccontextmanager
async def open_lazy_pool(
    settings: PostgresSettings, dsn: SecretStr, *, schema: str, connections_max: int
) -> AsyncIterator[Pool]:
    """A stateless pool of a server that may be away: it connects when somebody asks for a connection."""
    pool = await _pool(
        dsn,
        schema,
        connections_max=connections_max,
        timeout_seconds=settings.postgres_command_timeout_seconds,
        slow_query_seconds=settings.postgres_slow_query_seconds,
        connections_min=0,
        stateless=True,
    )
    try:
        yield pool
    finally:
        await _close(pool)


def _pool(
    dsn: SecretStr,
    schema: str,
    *,
    connections_max: int,
    timeout_seconds: float,
    slow_query_seconds: float,
    connections_min: int,
    stateless: bool,
) -> Pool:
    return _ImpatientPool(
        dsn.get_secret_value(),
        connection_class=_connection_class(slow_query_seconds),
        record_class=asyncpg.Record,
        loop=asyncio.get_running_loop(),
        min_size=connections_min,
        max_size=connections_max,
        max_queries=CONNECTION_STATEMENTS_MAX,
        max_inactive_connection_lifetime=CONNECTION_IDLE_SECONDS_MAX,
        command_timeout=timeout_seconds,
        timeout=CONNECT_TIMEOUT_SECONDS,
        server_settings=_server_settings(schema, timeout_seconds),
        reset=_leave_as_it_is if stateless else None,
    )


async def _close(pool: Pool) -> None:
    # A task of its own: in one that was cancelled, Python 3.11.2 turns no timeout into a TimeoutError.
    closing = asyncio.create_task(pool.close())
    try:
        await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_SECONDS)
        if closing.done():
            closing.result()
    finally:
        if not closing.done():
            # Postgres does not answer, or somebody holds on to a connection; a process must be able to end all the same
            pool.terminate()
            closing.cancel()


class _ImpatientConnection(TimedConnection):
    """A connection on which a cancelled task is not held up by a rollback that nobody answers."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109  asyncpg's
        """See asyncpg. In a cancelled task bounded by a second, and then cancelled rather than timed out."""
        if not _is_cancelled():
            return await super().execute(query, *args, timeout=timeout)
        try:
            return await super().execute(query, *args, timeout=min(timeout or inf, CANCELLED_SECONDS_MAX))
        except (TimeoutError, asyncio.CancelledError) as error:
            # The one as asyncpg's own timeout, the other as what Python 3.11.2 makes of asyncio's in a cancelled task.
            self.terminate()
            raise asyncio.CancelledError from error


@cache
def _connection_class(slow_seconds: float) -> type[_ImpatientConnection]:
    """asyncpg makes connections from a class alone, so what they are told is said of the class."""
    return type("_ImpatientConnection", (_ImpatientConnection,), {"slow_seconds": slow_seconds})


class _ImpatientPool(Pool):
    """A pool to which a cancelled task gives its connection back within a second, and stays cancelled."""

    async def release(self, connection: _Lent, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncpg's
        """See asyncpg, which waits as long as for a connection until a statement that was cancelled has ended."""
        if not _is_cancelled():
            await super().release(connection, timeout=timeout)
            return
        # The timeout would take the place of the cancellation, and a loop that tries again would go on for ever.
        with suppress(TimeoutError):
            await super().release(connection, timeout=min(timeout or inf, CANCELLED_SECONDS_MAX))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _leave_as_it_is(_connection: Connection) -> None:
    """Nothing."""


async def connect(
    dsn: SecretStr,
    *,
    schema: str,
    command_timeout_seconds: float = 10.0,
    slow_query_seconds: float = SLOW_SECONDS_DEFAULT,
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection outside the pool (advisory locks, LISTEN), for the caller to close; does not wait for the server."""
    return await asyncpg.connect(
        dsn.get_secret_value(),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=command_timeout_seconds,
        connection_class=_connection_class(slow_query_seconds),
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
