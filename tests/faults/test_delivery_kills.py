"""SIGKILL of delivery workers at random points: everything is sent, with the same id when it is sent again."""

import asyncio
import os
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.notify.delivery_scene import make_fanout, new, outcomes, queue, waiting
from tests.integration.notify.processes import eventually
from tests.integration.notify.sink import Post, Sink, running_sink

POSTS_BETWEEN_KILLS = 150
READY_SECONDS_MAX = 40.0
ANSWER_SECONDS = 0.02

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@asynccontextmanager
async def worker(database: Database, sink: Sink, log: Path) -> AsyncIterator[None]:
    """A worker in a process of its own, sending; killed on leaving."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.delivery_process",
            sink.url,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**own, "LIVESTREAM_POSTGRES_DSN": database.url},
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            line = await process.stdout.readline()
        assert line == b"ready\n", await asyncio.to_thread(log.read_text)
        yield
    finally:
        process.kill()
        await process.wait()


async def queue_all(pool: Pool, fanout_id: UUID, number: int) -> dict[str, str]:
    """Message ids by destination."""
    wanted = [new(fanout_id, provider=f"p{n % 5}.example:443") for n in range(number)]
    await queue(pool, *wanted)
    return {str(one.destination_id): str(one.message_id) for one in wanted}


async def test_workers_that_are_killed_lose_nothing_and_repeat_with_the_same_id(
    database: Database, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    async with (
        open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as pool,
        running_sink() as sink,
    ):
        fanout_id = await make_fanout(pool)
        wanted = await queue_all(pool, fanout_id, fault_plan.points * POSTS_BETWEEN_KILLS)

        async def answer(_: Post) -> web.StreamResponse:
            await asyncio.sleep(ANSWER_SECONDS)
            return web.Response()

        sink.answers = {f"/{destination}": answer for destination in wanted}
        for _ in range(fault_plan.points):
            before = len(sink.posts)
            async with worker(database, sink, tmp_path / "log"):
                enough = before + chance.randrange(1, POSTS_BETWEEN_KILLS)
                await eventually(lambda enough=enough: len(sink.posts) >= enough, 60)  # type: ignore[misc]  # mypy guesses the type of no default
        async with worker(database, sink, tmp_path / "log"):
            await eventually(lambda: is_drained(pool), 120)
        counted = await outcomes(pool, fanout_id)
    sent: dict[str, list[str]] = defaultdict(list)
    for post in sink.posts:
        sent[post.path.removeprefix("/")].append(post.body.decode())
    assert {destination: ids[0] for destination, ids in sent.items()} == wanted
    assert all(len(set(ids)) == 1 for ids in sent.values())
    assert counted == {"delivered": len(wanted)}  # each is counted once, however often it was sent
    repeated = sum(len(ids) - 1 for ids in sent.values())
    print(f"{fault_plan.points} kills: {len(wanted)} deliveries, {repeated} sent again")  # noqa: T201  a fault run tells


async def is_drained(pool: Pool) -> bool:
    return await waiting(pool) == 0
