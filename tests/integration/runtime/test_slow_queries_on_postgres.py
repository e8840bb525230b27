"""What is timed on a real connection: by name, in transactions and when it fails, and not the wait for a connection."""

import asyncio

import asyncpg
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from structlog.testing import capture_logs

from runtime.ids import uuid7
from runtime.postgres import Pool, Query, open_pool
from runtime.queries import parse_queries
from runtime.settings import PostgresSettings
from runtime.slow_queries import name_statement
from tests.engines import Database

SLOW_SECONDS = 0.05
QUICK_ATTEMPTS = 20
QUERIES = """
-- name: dawdle$
-- Take so long.
SELECT pg_sleep(:seconds)::text || :secret::text;

-- name: dawdle_rows
-- The same as rows.
SELECT pg_sleep(:seconds), :secret::text;

-- name: dawdle_row^
-- The same as a row.
SELECT pg_sleep(:seconds), :secret::text, 1;

-- name: dawdle_done!
-- The same as a command.
SELECT pg_sleep(:seconds) WHERE :secret::text <> '';

-- name: dawdle_many*!
-- The same, many times.
SELECT pg_sleep(:seconds) WHERE :secret::text IS NOT NULL;
"""


def counted(query: str) -> float:
    """How many slow ones were counted."""
    return REGISTRY.get_sample_value("livestream_slow_queries_total", {"query": query}) or 0.0


async def is_quick(query: Query, pool: Pool, secret: str, name: str) -> bool:
    """Whether it is not counted when it does not sleep; a busy machine is slow at it now and then."""
    for _ in range(QUICK_ATTEMPTS):
        before = counted(name)
        await query(pool, seconds=0, secret=secret)
        if counted(name) == before:
            return True
    return False


async def test_slow_queries_are_told_by_name_however_they_run(database: Database) -> None:
    mark, secret, quick = uuid7().hex, "what was asked", list[bool]()
    queries = parse_queries("tests", QUERIES)
    for query in queries.all():
        name_statement(query.sql, f"{mark}.{query.name}")
    settings = PostgresSettings(
        postgres_dsn=SecretStr(database.url), postgres_connections_max=1, postgres_slow_query_seconds=SLOW_SECONDS
    )
    with capture_logs() as lines:
        async with open_pool(settings, schema="accounts") as pool:
            for query in (queries.dawdle, queries.dawdle_rows, queries.dawdle_row):
                await query(pool, seconds=2 * SLOW_SECONDS, secret=secret)
                assert counted(f"{mark}.{query.name}") == 1
                quick.append(await is_quick(query, pool, secret, f"{mark}.{query.name}"))
            async with pool.acquire() as connection, connection.transaction():
                await queries.dawdle_done(connection, seconds=2 * SLOW_SECONDS, secret=secret)
                await queries.dawdle_many(connection, [{"seconds": SLOW_SECONDS, "secret": secret}] * 2)
                assert [counted(f"{mark}.{name}") for name in ("dawdle_done", "dawdle_many")] == [1, 1]
    assert quick == [True] * 3
    told = {line["query"]: line for line in lines if line["event"] == "query_slow"}
    names = [f"{mark}.{query.name}" for query in queries.all()]
    assert all(told[name]["milliseconds"] >= 1_000 * SLOW_SECONDS for name in names)
    assert secret not in str(lines)


async def test_a_statement_that_is_given_up_is_slow_and_waiting_for_a_connection_is_not(database: Database) -> None:
    mark = uuid7().hex
    sleep, quick = f"SELECT pg_sleep(30), '{mark}'", f"SELECT '{mark}'"
    name_statement(sleep, f"{mark}.sleep")
    name_statement(quick, f"{mark}.quick")
    settings = PostgresSettings(
        postgres_dsn=SecretStr(database.url),
        postgres_connections_max=1,
        postgres_command_timeout_seconds=2.0,
        postgres_slow_query_seconds=1.5,
    )
    async with open_pool(settings, schema="accounts") as pool:
        sleeping = asyncio.ensure_future(pool.fetch(sleep))
        waiting = asyncio.ensure_future(pool.fetchval(quick))  # the pool has one connection
        with pytest.raises((TimeoutError, asyncpg.QueryCanceledError)):
            await sleeping
        assert await waiting == mark
    assert counted(f"{mark}.sleep") == 1
    assert counted(f"{mark}.quick") == 0
