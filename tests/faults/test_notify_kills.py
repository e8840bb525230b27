"""SIGKILL of `python -m notify` at page boundaries and inside pages: others go on, and everybody is told once.

Two processes share the bus on Kafka. At each point one of them is killed: at the moment when a page has been committed,
or while the page after it is being written. The other one, and the one that takes the dead one's place, must go on from
the last committed page: every follower one inbox row, every destination one delivery for each notice, the counts exact.
"""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from console.seed_followers import seed_followers
from deploy.local.places import CHECKOUT
from eventbus.bus import EventBus
from eventbus.bus_kafka import open_bus
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, StreamStarted
from notify import store
from runtime.monthly_partitions import MonthlyPartitions
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.notify.processes import Person, eventually, notices_by_person, say, started

FOLLOWERS = 2_000
PAGE_FOLLOWERS = 20
PAGES = FOLLOWERS // PAGE_FOLLOWERS
WINDOW_PAGES = 16
DESTINATIONS = FOLLOWERS // 5 + FOLLOWERS // 10
PROCESSES = 2
POINTS_ALL = 50
BLOWS_PER_POINT_MAX = 2
PAGE_SECONDS = 0.012
"""About what a page takes here: blows inside of pages fall within it."""
TAKE_OVER_SECONDS = 60.0
"""Kafka waits some seconds before it believes that a member is dead."""

ADA = Person("ada")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]


@dataclass
class Scene:
    """Processes of notify that share a database and a bus."""

    environment: dict[str, str]
    log: Path
    bus: EventBus
    pool: Pool
    processes: list[Process]

    async def start(self) -> None:
        with self.log.open("ab") as log:
            process = await create_subprocess_exec(
                *(sys.executable, "-m", "notify"),
                cwd=CHECKOUT,
                env=self.environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)

    async def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.terminate()
        for process in self.processes:
            # one that was still starting knows nothing of signals yet
            assert await asyncio.wait_for(process.wait(), 30) in {0, -signal.SIGTERM}


@pytest.fixture
async def scene(
    database: Database,
    redis_url: str,
    redis_prefix: str,
    kafka_bootstrap_servers: str,
    topic_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    """Small pages, so that there are many moments to be killed in."""
    kafka = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap_servers, kafka_topic_prefix=topic_prefix)
    async with open_topics(kafka) as topics:
        await topics.make(TOPICS)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_REDIS_URL": redis_url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": kafka.kafka_topic_prefix,
        "LIVESTREAM_KAFKA_SESSION_TIMEOUT_SECONDS": "6",
        "LIVESTREAM_JWKS_URL": "http://127.0.0.1:1/jwks.json",
        "LIVESTREAM_PUBLIC_URL": "http://edge.test",
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_NOTIFY_REDIS_PREFIX": redis_prefix,
        "LIVESTREAM_NOTIFY_PAGE_FOLLOWERS_MAX": str(PAGE_FOLLOWERS),
        "LIVESTREAM_NOTIFY_WINDOW_PAGES_MAX": str(WINDOW_PAGES),
        "LIVESTREAM_NOTIFY_COOL_DOWN_SECONDS": "0",
        "LIVESTREAM_NOTIFY_FANOUTS_PER_DAY_MAX": "1000",
    }
    async with (
        open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as pool,
        open_bus(kafka) as bus,
    ):
        await MonthlyPartitions(pool, store.make_partitions).make()
        scene = Scene(environment, tmp_path / "notify.log", bus, pool, [])
        try:
            yield scene
        finally:
            await scene.stop()


async def test_every_follower_is_told_once_wherever_a_process_is_killed(
    scene: Scene, database: Database, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    points = fault_plan.points if fault_plan.points < 10 else POINTS_ALL
    await seed_followers(database.url, ADA.user_id, count=FOLLOWERS)
    await _destine(scene.pool)
    for _ in range(PROCESSES):
        await scene.start()
    struck = blows = 0
    while struck < points:
        # a blow that comes when all pages are told, because this process stood still, is made up for by another
        assert blows < points * BLOWS_PER_POINT_MAX, "most blows must fall while pages are being told"
        event = started(ADA)
        await say(scene.bus, event)
        # by turns: as soon as a page is committed, and at some moment in the next
        delay_seconds = 0.0 if blows % 2 == 0 else chance.uniform(0, PAGE_SECONDS)
        pages = await _strike(scene, event, chance.randrange(PAGES - 15), chance.randrange(PROCESSES), delay_seconds)
        struck += pages < PAGES
        blows += 1
        await scene.start()
        await eventually(_is_complete(scene.pool, event.stream_id), TAKE_OVER_SECONDS)
        await _assert_told_once(scene.pool, event)


async def _destine(pool: Pool) -> None:
    """Every fifth follower can be reached by Web Push, some in two browsers. What is queued is written down as well.

    The workers of the processes take deliveries away as soon as they are there.
    """
    await pool.execute(
        """
        CREATE TABLE queued (message_id uuid NOT NULL, destination_id uuid NOT NULL);
        CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO queued SELECT message_id, destination_id FROM made;
            RETURN NULL;
        END
        $$;
        CREATE TRIGGER write_down AFTER INSERT ON deliveries REFERENCING NEW TABLE AS made
        FOR EACH STATEMENT EXECUTE FUNCTION write_down();
        """
    )
    await pool.execute(
        "INSERT INTO destinations (destination_id, user_id, channel, provider)"
        " SELECT md5(follower_id || '/' || n)::uuid, follower_id, 'webpush', 'push.test:443'"
        "   FROM (SELECT follower_id, row_number() OVER (ORDER BY follower_id) AS position FROM follows) AS f,"
        "        generate_series(1, 2) AS n"
        "  WHERE position % 5 = 0 AND (n = 1 OR position % 10 = 0)"
    )


async def _strike(scene: Scene, event: StreamStarted, page: int, victim: int, delay_seconds: float) -> int:
    """SIGKILL one process once so many pages are done and a part of the next has passed; how many were done then."""
    done = "SELECT pages_done FROM fanouts WHERE fanout_id = $1"

    async def reached() -> bool:
        pages_done = await scene.pool.fetchval(done, event.stream_id)
        return pages_done is not None and pages_done >= page

    await eventually(reached, TAKE_OVER_SECONDS)
    await asyncio.sleep(delay_seconds)  # the moment of the blow
    await scene.kill(victim)
    pages: int = await scene.pool.fetchval(done, event.stream_id)
    return pages


def _is_complete(pool: Pool, fanout_id: UUID) -> Callable[[], Awaitable[bool]]:
    async def is_complete() -> bool:
        state: str = await pool.fetchval("SELECT state FROM fanouts WHERE fanout_id = $1", fanout_id)
        return state == "completed"

    return is_complete


async def _assert_told_once(pool: Pool, event: StreamStarted) -> None:
    told = await notices_by_person(pool, event.stream_id)
    assert (len(told), set(told.values())) == (FOLLOWERS, {1})
    row = await _row(pool, "SELECT pages_planned, pages_done, recipients FROM fanouts WHERE fanout_id = $1", event)
    assert row == (PAGES, PAGES, FOLLOWERS)
    deliveries = await _row(
        pool,
        "SELECT count(*), count(DISTINCT destination_id),"
        " (SELECT count(*) FROM destinations),"
        " (SELECT recipients FROM fanout_outcomes WHERE fanout_id = $1 AND channel = 'webpush' AND outcome = 'queued')"
        " FROM queued WHERE message_id = $1",
        event,
    )
    assert deliveries == (DESTINATIONS,) * 4


async def _row(pool: Pool, query: str, event: StreamStarted) -> tuple[int, ...]:
    row: asyncpg.Record | None = await pool.fetchrow(query, event.stream_id)
    assert row is not None
    return tuple(row)
