"""SIGKILL of `python -m notify` in the middle of fan-outs: the next process tells the rest, and nobody twice."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from console.seed_followers import seed_followers
from eventbus.bus_kafka import open_bus
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS
from runtime.postgres import Pool
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.notify.processes import (
    Person,
    eventually,
    fanout_is_complete,
    notices_by_person,
    say,
    started,
)

REPOSITORY = Path(__file__).parents[3]
FOLLOWERS = 2_000
PAGE_FOLLOWERS = 20
PAGES = FOLLOWERS // PAGE_FOLLOWERS
PLAN_PAGES = 15
TAKE_OVER_SECONDS = 40.0
"""Kafka waits ten seconds before it believes that a member is dead."""

ADA = Person("ada")

Start = Callable[[], Awaitable[Process]]


@pytest.fixture
async def start(
    database: Database, redis_url: str, redis_prefix: str, kafka: KafkaSettings, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts the process, with small pages so that there are many moments to be killed in."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_REDIS_URL": redis_url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "LIVESTREAM_JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_PUBLIC_URL": "https://live.example.org",
        "LIVESTREAM_NOTIFY_REDIS_PREFIX": redis_prefix,
        "LIVESTREAM_NOTIFY_PAGE_FOLLOWERS_MAX": str(PAGE_FOLLOWERS),
        "LIVESTREAM_NOTIFY_PLAN_PAGES_MAX": str(PLAN_PAGES),
    }
    started_processes: list[Process] = []

    async def launch() -> Process:
        with (tmp_path / "notify.log").open("ab") as log:
            process = await create_subprocess_exec(
                *(sys.executable, "-m", "notify"),
                cwd=REPOSITORY,
                env=environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        started_processes.append(process)
        return process

    yield launch
    for process in started_processes:
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) in {0, -signal.SIGKILL}


@pytest.fixture
async def kafka(kafka_bootstrap_servers: str, topic_prefix: str) -> KafkaSettings:
    """The test's own topics."""
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap_servers, kafka_topic_prefix=topic_prefix)
    async with open_topics(settings) as topics:
        await topics.make(TOPICS)
    return settings


@pytest.mark.faults
@pytest.mark.timeout(1_800)
async def test_every_follower_is_told_once_wherever_the_process_is_killed(
    start: Start, kafka: KafkaSettings, database: Database, pool: Pool, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    await seed_followers(database.url, ADA.user_id, count=FOLLOWERS)
    process, struck_inside = await start(), 0
    async with open_bus(kafka) as bus:
        for _ in range(fault_plan.points):
            event = started(ADA)
            await say(bus, event)
            await strike(pool, event.stream_id, process, chance)
            struck_inside += not await fanout_is_complete(pool, event.stream_id)
            process = await start()
            await eventually(lambda: fanout_is_complete(pool, event.stream_id), TAKE_OVER_SECONDS)  # noqa: B023  awaited before the next turn
            told = await notices_by_person(pool, event.stream_id)
            assert (len(told), set(told.values())) == (FOLLOWERS, {1})
            row = await pool.fetchrow(
                "SELECT pages_planned, pages_done, recipients FROM fanouts WHERE stream_id = $1", event.stream_id
            )
            assert row is not None
            assert tuple(row) == (PAGES, PAGES, FOLLOWERS)
    assert struck_inside >= int(fault_plan.points * 0.8), "most blows must fall while pages are being told"


async def strike(pool: Pool, stream_id: UUID, process: Process, chance: random.Random) -> None:
    """SIGKILL once a random page is done and a random part of the next has passed."""
    page, delay_seconds = chance.randrange(PAGES - 15), chance.uniform(0, 0.012)

    async def reached() -> bool:
        done = await pool.fetchval("SELECT pages_done FROM fanouts WHERE stream_id = $1", stream_id)
        return done is not None and done >= page

    await eventually(reached, TAKE_OVER_SECONDS)
    await asyncio.sleep(delay_seconds)
    process.kill()
    await process.wait()
