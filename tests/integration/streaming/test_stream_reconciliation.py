"""Lost hooks, restarted media servers and a restarted service end in the truth: real publishers, real nginx-rtmp."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.local import Stack
from streaming.lifecycle.reconciler import Reconciler
from streaming.servers.media_server import MediaServers
from tests import engines
from tests.integration.streaming.publisher import eventually, publishing
from tests.integration.streaming.studio import SERVER, Studio
from tests.integration.streaming.test_stream_ingest import Ingest, serve

TRUTH_SECONDS_MAX = 30  # 15 from when everything runs; the rest is for its start on a busy machine
ABSENCE_SECONDS = 2.5


@pytest.fixture
def stack(own_stack: Callable[..., Stack]) -> Stack:
    """A media server of the test's own; the other part keeps the stack at its ports while nginx is away."""
    return own_stack("nginx", "redis")


@asynccontextmanager
async def reconciling(studio: Studio) -> AsyncIterator[None]:
    """The reconciler at work, on the test's media server."""
    reconciler = Reconciler(
        studio.outbox,
        studio.pool,
        MediaServers({SERVER: studio.media_server}),
        absence_seconds=ABSENCE_SECONDS,
        on_change=studio.live_list.forget,
        pass_seconds=0.25,
    )
    running = asyncio.create_task(reconciler.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def statuses(ingest: Ingest) -> dict[str, str]:
    """Of every stream, by its channel's name."""
    rows = await ingest.studio.rows("SELECT name, status FROM streams JOIN channels USING (channel_id)")
    return {row["name"]: row["status"] for row in rows}


async def until(ingest: Ingest, **wanted: str) -> None:
    await eventually(
        lambda: statuses(ingest), until=lambda found: found == wanted, seconds_max=TRUTH_SECONDS_MAX, what="statuses"
    )


async def until_listed(ingest: Ingest, count: int) -> None:
    async def listed() -> int:
        return len(await ingest.media_server.publishers())

    await eventually(listed, until=lambda found: found == count, what="publishers")


async def test_a_restarted_media_server_ends_in_the_truth(database: engines.Database, stack: Stack) -> None:
    async with serve(database, stack) as ingest, reconciling(ingest.studio):
        keys = [(await ingest.studio.channel(name))[1] for name in ("ada", "bob")]
        async with publishing(ingest.url(keys[0])), publishing(ingest.url(keys[1])):
            await until(ingest, ada="live", bob="live")
            await until_listed(ingest, 2)
            # for longer than it takes to believe in an absence: whoever is there stays
            before = await ingest.studio.rows("SELECT seen_at FROM open_streams")
            await eventually(
                lambda: ingest.studio.rows("SELECT seen_at FROM open_streams"),
                until=lambda rows: all(row["seen_at"] > before[0]["seen_at"] for row in rows),
                what="no sign of life",
            )
            stack.kill("nginx")
        # away, it proves nothing
        await asyncio.sleep(ABSENCE_SECONDS + 1)
        assert await statuses(ingest) == {"ada": "live", "bob": "live"}
        await asyncio.to_thread(stack.start, "nginx")
        async with publishing(
            ingest.url(keys[1])
        ) as bob:  # ada does not come back; bob may have a number that was hers
            await until(ingest, ada="interrupted", bob="live")
            await until_listed(ingest, 1)
            assert bob.returncode is None
            await ingest.studio.reaper(grace_seconds=0, silence_seconds=30).reap()
            await until(ingest, ada="ended", bob="live")
    kinds = [event["type"] for event in await _said(database)]
    assert kinds == ["stream.started", "stream.started", "stream.ended"]


async def test_a_publisher_that_leaves_while_the_service_is_down_is_found_out(
    database: engines.Database, stack: Stack
) -> None:
    async with serve(database, stack) as ingest:
        key, other = (await ingest.studio.channel("ada"))[1], (await ingest.studio.channel("bob"))[1]
        bob = publishing(ingest.url(other))
        await bob.__aenter__()
        async with publishing(ingest.url(key)):
            await until(ingest, ada="live", bob="live")
            await until_listed(ingest, 2)
            # from here on hooks find nobody
            await ingest.studio.client.server.close()
        await until_listed(ingest, 1)
    began = time.monotonic()
    try:
        async with serve(database, stack) as ingest, reconciling(ingest.studio):
            await until(ingest, ada="interrupted", bob="live")
            assert time.monotonic() - began < TRUTH_SECONDS_MAX
    finally:
        await bob.__aexit__(None, None, None)


async def _said(database: engines.Database) -> list[dict[str, str]]:
    connection = await asyncpg.connect(database.url)
    try:
        rows = await connection.fetch("SELECT type FROM streaming.outbox ORDER BY id")
        return [{"type": row["type"]} for row in rows]
    finally:
        await connection.close()
