"""SIGKILL of the relay and of a consumer of either bus at random points, under load: nothing lost, nothing twice."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from eventbus.bus_configured import open_bus
from eventbus.group_session import BEAT_SECONDS, MEMBER_SILENCE_SECONDS_MAX
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import DEAD_LETTERS
from events.topics import STREAMS
from runtime.postgres import Pool, open_pool
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.faults.bus_process import SCHEMA
from tests.integration.eventbus.saying import by_channel, eventually, numbered, running

CHANNELS = 8
LIFE_SECONDS_MAX = 1.2
READY_SECONDS_MAX = 40.0
PAUSE_SECONDS = 0.004

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@dataclass
class Scene:
    """Engines, topics, and a writer that never stops."""

    database: Database
    settings: BusSettings
    pool: Pool
    outbox: Outbox
    said: int = 0

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")},
            "LIVESTREAM_POSTGRES_DSN": self.database.url,
            "LIVESTREAM_BUS_BACKEND": self.settings.bus_backend,
            "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "LIVESTREAM_KAFKA_TOPIC_PREFIX": self.settings.kafka_topic_prefix,
            "LIVESTREAM_KAFKA_SESSION_TIMEOUT_SECONDS": str(self.settings.kafka_session_timeout_seconds),
        }

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[None]:
        """Say events all the time; those of a channel are numbered."""
        stop = asyncio.Event()

        async def speak() -> None:
            while not stop.is_set():
                async with self.outbox.transaction() as transaction:
                    await transaction.say(*(numbered(channel, self.said) for channel in range(CHANNELS)))
                self.said += 1
                await asyncio.sleep(PAUSE_SECONDS)

        speaking = asyncio.create_task(speak())
        try:
            yield
        finally:
            stop.set()
            await speaking

    @asynccontextmanager
    async def process(self, part: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """The part in a process of its own, ready; killed on leaving."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.faults.bus_process",
                part,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=self.environment(),
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                line = await process.stdout.readline()
            assert line == b"ready\n", await asyncio.to_thread(log.read_text)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def kill_at_random_points(self, part: str, plan: FaultPlan, log: Path) -> None:
        chance = random.Random(plan.seed)
        for _ in range(plan.points):
            async with self.process(part, log):
                await asyncio.sleep(chance.uniform(0, LIFE_SECONDS_MAX))  # the point at which it dies


@pytest.fixture(params=["kafka", "postgres"])
async def scene(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Scene]:
    if request.param == "postgres":
        settings = BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)
    else:
        settings = BusSettings(
            postgres_dsn=database.dsn,
            kafka_bootstrap_servers=request.getfixturevalue("kafka_bootstrap_servers"),
            kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
            kafka_session_timeout_seconds=6,  # what a dead member holds is waited for so long, at every point
        )
        async with open_topics(settings) as topics:
            await topics.make([replace(STREAMS, partitions=2), DEAD_LETTERS])
    async with open_pool(settings, schema=SCHEMA) as pool:
        await pool.execute("CREATE TABLE effects (id bigserial, channel integer NOT NULL, number integer NOT NULL)")
        yield Scene(database, settings, pool, Outbox(pool, source=SCHEMA))


async def test_a_relay_that_is_killed_loses_nothing_and_keeps_the_order(
    scene: Scene, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    async with scene.speaking():
        await scene.kill_at_random_points("relay", fault_plan, tmp_path / "log")
    async with scene.process("relay", tmp_path / "log"), open_bus(scene.settings) as bus:
        last = await scene.pool.fetchval("SELECT max(id) FROM outbox")

        async def caught_up() -> bool:
            return bool(await scene.pool.fetchval("SELECT id FROM outbox_cursor") >= last)

        await eventually(caught_up, what="the relay has published everything")
        published = [message async for message in bus.read(STREAMS.name)]
    assert scene.said > fault_plan.points
    numbers = by_channel(message for message in published)  # type: ignore[misc]  # a message is a record with a place
    # A batch may have been published again, from its beginning: first appearances tell the order.
    firsts = {channel: list(dict.fromkeys(of_channel)) for channel, of_channel in numbers.items()}
    assert firsts == {channel: list(range(scene.said)) for channel in range(CHANNELS)}


async def test_a_consumer_that_is_killed_loses_nothing_and_does_nothing_twice(
    scene: Scene, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    async with (
        open_bus(scene.settings) as bus,
        running(bus.relay(scene.database.dsn, scene.outbox, schema=SCHEMA).run()),
    ):
        async with scene.speaking():
            await scene.kill_at_random_points("consume", fault_plan, tmp_path / "log")
        wanted = scene.said * CHANNELS

        async def caught_up() -> bool:
            return bool(await scene.pool.fetchval("SELECT count(*) FROM effects") >= wanted)

        async with scene.process("consume", tmp_path / "log"):
            await eventually(caught_up, what="everything has its effect")
        assert not [message async for message in bus.read(DEAD_LETTERS.name)]
    rows = await scene.pool.fetch(
        "SELECT channel, array_agg(number ORDER BY id) AS numbers FROM effects GROUP BY channel"
    )
    effects = {row["channel"]: list(row["numbers"]) for row in rows}
    assert effects == {channel: list(range(scene.said)) for channel in range(CHANNELS)}


@pytest.mark.parametrize("scene", ["postgres"], indirect=True)
async def test_what_a_dead_member_worked_on_is_taken_over(scene: Scene, tmp_path: Path) -> None:
    """On Postgres: at once from a killed process, after the silence from a frozen one, which can do no harm later."""
    log = tmp_path / "log"
    async with (
        open_bus(scene.settings) as bus,
        running(bus.relay(scene.database.dsn, scene.outbox, schema=SCHEMA).run()),
        scene.speaking(),
        scene.process("consume", log) as frozen,
    ):
        frozen.send_signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        async with scene.process("consume", log) as killed:
            # Its silence began with its last beat, which on a busy machine may have been due for a while.
            assert time.monotonic() - frozen_at > MEMBER_SILENCE_SECONDS_MAX / 2
            frozen.send_signal(signal.SIGCONT)  # believes that the partitions are its own, for a moment
            killed.kill()
            await killed.wait()
            killed_at = time.monotonic()

            async def is_taken() -> bool:
                owners = await scene.pool.fetch("SELECT DISTINCT owner FROM bus.group_cursor")
                living = await scene.pool.fetch("SELECT member_id FROM bus.group_member")
                return len(living) == 1 and [row["owner"] for row in owners] == [living[0]["member_id"]]

            await eventually(is_taken, what="the one that was frozen has everything")
            assert time.monotonic() - killed_at < MEMBER_SILENCE_SECONDS_MAX - BEAT_SECONDS
    rows = await scene.pool.fetch(
        "SELECT channel, array_agg(number ORDER BY id) AS numbers FROM effects GROUP BY channel"
    )
    for row in rows:
        assert list(row["numbers"]) == list(range(len(row["numbers"]))), "each once, in order"
