"""Engines frozen, killed and restarted under either bus: everything resumes without a restart of ours."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import asyncpg
import psutil
import pytest
from pydantic import SecretStr

from deploy.local import Stack
from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.outbox import Outbox, Transaction
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import DEAD_LETTERS, TOPICS, Envelope, StreamStarted
from runtime.health import Health
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.service import Service
from runtime.unavailable import is_unavailable
from tests.integration.eventbus.saying import eventually, numbered, running

SCHEMA = "streaming"
CHANNELS = 4
TRAFFIC_ROUNDS = 15
FROZEN_SECONDS = 20.0
STOP_SECONDS_MAX = 9.0
RECOVERY_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.05

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


@dataclass
class Scene:
    """One process of ours (a relay, a loop, requests that speak) on engines of its own."""

    stack: Stack
    pool: Pool
    bus: EventBus
    outbox: Outbox
    health: Health = field(default_factory=Health)
    said: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def speak(self) -> None:
        """Say events until it is enough; one whose commit is in doubt is looked up."""
        while not self.enough.is_set():
            try:
                async with self.outbox.transaction() as transaction:
                    await transaction.say(*(numbered(channel, self.said) for channel in range(CHANNELS)))
                self.said += 1
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                if not is_unavailable(error):
                    raise
                await self._settle_doubt()
            await asyncio.sleep(PAUSE_SECONDS)
        self.silent.set()

    async def _settle_doubt(self) -> None:
        while True:
            try:
                found = await self.pool.fetchval(
                    "SELECT EXISTS (SELECT FROM outbox WHERE convert_from(data, 'UTF8') LIKE $1)",
                    f'%"#{self.said}"%',
                )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await asyncio.sleep(0.1)
                continue
            self.said += 1 if found else 0
            return

    async def unready(self) -> bool:
        return any(reason is not None for reason in (await self.health.reasons()).values())

    async def wait_until_unready(self) -> None:
        await eventually(self.unready, what="readiness says what is away", seconds=FROZEN_SECONDS)

    async def wait_for_traffic(self) -> None:
        """Something was said, and all of it is applied: what comes now comes to a process at work."""

        async def spoken() -> bool:
            return self.said >= TRAFFIC_ROUNDS

        await eventually(spoken, what="some traffic", seconds=RECOVERY_SECONDS_MAX)
        await self.wait_until_caught_up()

    async def wait_until_caught_up(self) -> None:
        """Everything said by now is applied, and we are ready again."""
        wanted = self.said * CHANNELS

        async def caught_up() -> bool:
            applied = await self.pool.fetchval("SELECT count(*) FROM effects")
            return bool(applied >= wanted) and not await self.unready()

        await eventually(caught_up, what="everything is applied", seconds=RECOVERY_SECONDS_MAX)


async def note_effect(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    await transaction.connection.execute(
        "INSERT INTO effects (channel, number) VALUES ($1, $2)",
        envelope.event.channel_id.int,
        int(envelope.event.title[1:]),
    )


@asynccontextmanager
async def open_scene(stack: Stack, backend: Literal["kafka", "postgres"]) -> AsyncIterator[Scene]:
    environment = stack.environment()
    settings = BusSettings(
        bus_backend=backend,
        postgres_dsn=SecretStr(environment["LIVESTREAM_POSTGRES_DSN"]),
        kafka_bootstrap_servers=environment["LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS"],
    )
    await migrate(settings.postgres_dsn)
    if backend == "kafka":
        async with open_topics(settings) as topics:
            await topics.make(TOPICS)
    async with open_pool(settings, schema=SCHEMA) as pool, open_bus(settings) as bus:
        await pool.execute("CREATE TABLE effects (id bigserial, channel integer NOT NULL, number integer NOT NULL)")
        yield Scene(stack, pool, bus, Outbox(pool, source=SCHEMA))


def services(scene: Scene) -> tuple[Service, ConsumeLoop]:
    """What a process of ours runs."""
    dsn = SecretStr(scene.stack.environment()["LIVESTREAM_POSTGRES_DSN"])
    relay = scene.bus.relay(dsn, scene.outbox, schema=SCHEMA, health=scene.health)
    subscription = Subscription("streaming-faults", {StreamStarted: note_effect})
    return relay, ConsumeLoop(scene.bus, scene.outbox, subscription, health=scene.health)


async def assert_everything_took_effect_once(scene: Scene) -> None:
    rows = await scene.pool.fetch(
        "SELECT channel, array_agg(number ORDER BY id) AS numbers FROM effects GROUP BY channel"
    )
    assert {row["channel"]: list(row["numbers"]) for row in rows} == {
        channel: list(range(scene.said)) for channel in range(CHANNELS)
    }
    assert not [message async for message in scene.bus.read(DEAD_LETTERS.name)]


@contextmanager
def frozen_postgres(stack: Stack) -> Iterator[None]:
    """The server and every backend of it stand still."""
    server = psutil.Process(stack.pid("postgres"))
    stopped = [server, *server.children()]
    for process in stopped:
        with suppress(psutil.NoSuchProcess):  # a session that has just ended
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def test_every_engine_may_freeze_die_and_return(own_stack: Callable[..., Stack]) -> None:
    stack = await asyncio.to_thread(own_stack, "postgres", "kafka")
    async with open_scene(stack, "kafka") as scene:
        relay, loop = services(scene)
        async with running(relay.run(), loop.run(), scene.speak()):
            await scene.wait_for_traffic()

            os.kill(stack.pid("kafka"), signal.SIGSTOP)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(asyncio.sleep(FROZEN_SECONDS))
                    both.create_task(scene.wait_until_unready())
            finally:
                os.kill(stack.pid("kafka"), signal.SIGCONT)
            await scene.wait_until_caught_up()

            await asyncio.to_thread(stack.kill, "kafka")
            await scene.wait_until_unready()
            await asyncio.to_thread(stack.start, "kafka")
            await scene.wait_until_caught_up()

            await asyncio.to_thread(stack.kill, "postgres")
            await scene.wait_until_unready()
            await asyncio.to_thread(stack.start, "postgres")
            await scene.wait_until_caught_up()

            os.kill(stack.pid("kafka"), signal.SIGSTOP)
            await scene.wait_until_unready()
            scene.enough.set()
            await scene.silent.wait()
            stopping_at = time.monotonic()
        assert time.monotonic() - stopping_at < STOP_SECONDS_MAX, "a frozen broker holds up no farewell"
        os.kill(stack.pid("kafka"), signal.SIGCONT)
        async with running(relay.run(), loop.run()):
            await scene.wait_until_caught_up()
        await assert_everything_took_effect_once(scene)


async def test_postgres_may_freeze_die_and_return_under_the_bus_on_it(own_stack: Callable[..., Stack]) -> None:
    stack = await asyncio.to_thread(own_stack, "postgres")
    async with open_scene(stack, "postgres") as scene:
        relay, loop = services(scene)
        async with running(relay.run(), loop.run(), scene.speak()):
            await scene.wait_for_traffic()

            with frozen_postgres(stack):
                await scene.wait_until_unready()
            await scene.wait_until_caught_up()

            await asyncio.to_thread(stack.kill, "postgres")
            await scene.wait_until_unready()
            await asyncio.to_thread(stack.start, "postgres")
            await scene.wait_until_caught_up()

            scene.enough.set()
            await scene.silent.wait()
            await scene.wait_until_caught_up()
        await assert_everything_took_effect_once(scene)

        with ExitStack() as frozen:
            async with running(relay.run(), loop.run()):
                await scene.wait_until_caught_up()
                frozen.enter_context(frozen_postgres(stack))
                stopping_at = time.monotonic()
            stopped_after_seconds = time.monotonic() - stopping_at
        assert stopped_after_seconds < STOP_SECONDS_MAX, "a frozen Postgres holds up no farewell"
