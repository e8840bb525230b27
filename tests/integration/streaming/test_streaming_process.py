"""`python -m streaming` as a process: killed in the middle of a stream, it takes it up again."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from runtime.postgres import connect
from streaming.channels.keys import digest, make_key
from tests import engines
from tests.integration.streaming.publisher import eventually, publishing

REPOSITORY = Path(__file__).parents[3]
TRUTH_SECONDS_MAX = 30  # 15 from when it runs, grace included; the rest is for its start on a busy machine


@pytest.fixture
def stack(own_stack: Callable[..., Stack]) -> Stack:
    """A media server of the test's own."""
    return own_stack("nginx")


@pytest.fixture
async def connection(database: engines.Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """What the process has written, and a channel to publish to."""
    connection = await connect(database.dsn, schema="streaming")
    yield connection
    await connection.close()


@pytest.fixture
def start(
    stack: Stack, database: engines.Database, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> Callable[[], "_Run"]:
    """Starts the streaming process behind the media server."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
        **stack.environment(),
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
        "LIVESTREAM_HTTP_PORT": str(stack.ports["streaming"]),
        "LIVESTREAM_STREAMING_GRACE_SECONDS": "1",
        "LIVESTREAM_STREAMING_SILENCE_SECONDS": "15",
    }
    return lambda: _run(environment, stack.ports["streaming"], tmp_path / "streaming.log")


_Run = AbstractAsyncContextManager[Process]


@asynccontextmanager
async def _run(environment: dict[str, str], port: int, log: Path) -> AsyncIterator[Process]:
    with log.open("ab") as output:
        process = await create_subprocess_exec(
            sys.executable,
            "-m",
            "streaming",
            cwd=REPOSITORY,
            env=environment,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            await eventually(_answers(port), until=bool, seconds_max=60, what=f"no answer; see {log}")
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _answers(port: int) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/livez") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    return ask


async def test_a_stream_outlives_the_process(
    start: Callable[[], _Run], stack: Stack, connection: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    key, leaving_key = make_key(), make_key()
    for name, of_name in (("ada", key), ("bob", leaving_key)):
        await connection.execute(
            "INSERT INTO channels (channel_id, name, stream_key_hash) VALUES (gen_random_uuid(), $1, $2)",
            name,
            digest(of_name),
        )

    async def statuses() -> dict[str, str]:
        rows = await connection.fetch("SELECT name, status FROM streams JOIN channels USING (channel_id)")
        return {row["name"]: row["status"] for row in rows}

    async def seen_at() -> object:
        return await connection.fetchval(
            "SELECT seen_at FROM open_streams JOIN channels USING (channel_id) WHERE name = 'ada'"
        )

    async def media() -> int:
        directory = Path(stack.environment()["LIVESTREAM_ARCHIVE_HLS_DIRECTORY"])
        return await asyncio.to_thread(lambda: len({path.parent for path in directory.glob("*/*.ts")}))

    address = stack.environment()["LIVESTREAM_STREAMING_PUBLIC_INGEST_URL"]
    async with AsyncExitStack() as publisher_stack:
        async with start() as first:
            publisher = await publisher_stack.enter_async_context(publishing(f"{address}/{key}"))
            async with publishing(f"{address}/{leaving_key}"):
                await eventually(statuses, until=lambda found: found == {"ada": "live", "bob": "live"})
                # the row is there before the answer is: only once media flow has the publisher been let in
                await eventually(media, until=lambda streams: streams == 2, what="no media arrived")
                first.kill()
                await first.wait()
        # the media server asks every 5 s whether the publisher may go on, and gets no answer
        await asyncio.sleep(6)
        before = await seen_at()
        async with start() as second:
            await eventually(seen_at, until=lambda seen: seen != before, what="no sign of life was heard")
            assert publisher.returncode is None
            # nobody told of the one who left meanwhile: the media server was asked
            await eventually(
                statuses, until=lambda found: found == {"ada": "live", "bob": "ended"}, seconds_max=TRUTH_SECONDS_MAX
            )
            await publisher_stack.aclose()
            await eventually(statuses, until=lambda found: found == {"ada": "ended", "bob": "ended"})
            second.send_signal(signal.SIGTERM)
            assert await second.wait() == 0
    assert await connection.fetchval("SELECT array_agg(type ORDER BY id) FROM outbox") == [
        "stream.started",
        "stream.started",
        "stream.ended",
        "stream.ended",
    ]
    logs = (tmp_path / "streaming.log").read_text() + stack.log("nginx").read_text()
    assert key not in logs
    assert stack.environment()["LIVESTREAM_STREAMING_INGEST_SECRET"] not in logs
