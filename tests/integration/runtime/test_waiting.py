"""Processes start in any order: what is not there yet is waited for, and the log says so."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from runtime.postgres import open_pool, postgres_check
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.free_ports import free_port


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{port}"))


@asynccontextmanager
async def _forwarded(port: int, url: str) -> AsyncIterator[None]:
    """The server of `url` at `port`, as if it had just been started there."""
    parts = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer), return_exceptions=True)

    async with await asyncio.start_server(forward, "127.0.0.1", port):
        yield


async def _until_logged(lines: Sequence[Mapping[str, object]], event: str, times: int) -> None:
    async with asyncio.timeout(30):
        while sum(line["event"] == event for line in lines) < times:  # noqa: ASYNC110  a log has no event to wait for
            await asyncio.sleep(0.01)


async def test_postgres_is_waited_for(database: Database) -> None:
    port = free_port()
    settings = PostgresSettings(postgres_dsn=SecretStr(_at_port(database.url, port)))

    async def use() -> object:
        async with open_pool(settings, schema="accounts") as pool:
            await postgres_check(pool)()
            return await pool.fetchval("SELECT count(*) FROM users")

    with capture_logs() as lines:
        using = asyncio.create_task(use())
        await _until_logged(lines, "waiting_for_postgres", 3)
        async with _forwarded(port, database.url):
            assert await using == 0
    waits = [line["waited_seconds"] for line in lines if line["event"] == "waiting_for_postgres"]
    assert waits == sorted(waits)
    assert [line["event"] for line in lines if str(line["event"]).endswith("_postgres")][-1] == "found_postgres"
    password = urlsplit(database.url).password
    assert password is None or password not in str(lines)


async def test_a_pool_closes_although_a_connection_is_held(database: Database) -> None:
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with asyncio.timeout(20):
        async with open_pool(settings, schema="accounts") as pool:
            held = await pool.acquire()
        with pytest.raises(asyncpg.InterfaceError):
            await held.execute("SELECT 1")


async def test_what_waiting_cannot_mend_is_raised(database: Database) -> None:
    nowhere = SecretStr(database.url.rpartition("/")[0] + "/no_such_database")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        async with open_pool(PostgresSettings(postgres_dsn=nowhere), schema="accounts"):
            pytest.fail("it does not exist")
