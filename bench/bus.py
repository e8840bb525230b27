"""The buses side by side: how late an event is at its handler, and how fast a backlog is drained.

One process, as in a service: its requests say events, its relay makes them readable, its consume loop applies them with
the real inbox and a handler that does nothing. The clock of an event starts before its COMMIT is sent.

The limit of the drain is measured in the same run: a loop that reads the same events with the plain client of the
backend, and remembers their ids as the inbox does, without decoding, tracing, partitions, or a second look at anything.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from bench.bus_scene import BACKENDS, SCHEMA, Backend, Scene, events, open_scene, own_cpu_seconds
from bench.report import Bar, Bench, Outcome, Say, percentile
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.outbox import Outbox, Transaction
from events import Envelope, StreamStarted, topic_of

EVENTS_PER_SECOND = 500
PACED_SECONDS = 20
WARM_UP_SECONDS = 3
DRAIN_EVENTS = 40_000
APPEND_EVENTS_MAX = 500
REMEMBER_EVENTS_MAX = 200
READ_EVENTS_MAX = 1_000
WAIT_SECONDS_MAX = 180.0
GROUP = "bench-bus"

BARS = {
    "postgres": (
        Bar("postgres_to_handler_p99_ms", "<=", 50),
        Bar("postgres_drained_events_per_second", ">=", 5_000),
    ),
    "kafka": (),
}


class Handler:
    """Notes when each event came to its handler."""

    def __init__(self) -> None:
        self.handled_at: dict[str, float] = {}
        self._waited_for = 0
        self._there = asyncio.Event()

    async def hear(self, _transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """Handle one."""
        self.handled_at[envelope.event.subject] = time.perf_counter()
        if len(self.handled_at) == self._waited_for:
            self._there.set()

    async def wait_for(self, count: int) -> None:
        """Wait until ``count`` events were handled."""
        self._waited_for = count
        if len(self.handled_at) < count:
            self._there.clear()
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._there.wait()


def bench_of(backends: Sequence[str]) -> Bench:
    """The bench for some backends, in the order of ``BACKENDS``."""
    chosen = tuple(one for one in BACKENDS if one in backends)

    async def measure(directory: Path, say: Say) -> Outcome:
        figures: dict[str, float] = {}
        peers: dict[str, float] = {}
        cpu_seconds = 0.0
        for backend in chosen:
            outcome = await _measure_one(backend, directory, say)
            figures |= {f"{backend}_{name}": value for name, value in outcome.figures.items()}
            peers |= {f"{backend}_{name}": value for name, value in outcome.peers.items()}
            cpu_seconds += outcome.cpu_seconds
        return Outcome(figures, processes=1, cpu_seconds=round(cpu_seconds, 2), peers=peers)

    return Bench(
        name="bus",
        description=f"Saying to handler at {EVENTS_PER_SECOND} events a second, and a backlog's drain, on each bus.",
        bars=[bar for backend in chosen for bar in BARS[backend]],
        measure=measure,
        of_backends=bench_of,
    )


async def _measure_one(backend: Backend, directory: Path, say: Say) -> Outcome:
    async with open_scene(directory, say, backend=backend) as scene:
        say(f"{backend}: {EVENTS_PER_SECOND} events a second for {PACED_SECONDS} s")
        own, engines = own_cpu_seconds(), scene.engines_cpu_seconds()
        figures = await _measure_latency(scene)
        figures["paced_cpu_seconds"] = round(own_cpu_seconds() - own, 2)
        figures["paced_engines_cpu_seconds"] = round(scene.engines_cpu_seconds() - engines, 2)
        total = own_cpu_seconds() - own
        say(f"{backend}: draining {DRAIN_EVENTS} events")
        await _append(scene.outbox, DRAIN_EVENTS)
        own, engines = own_cpu_seconds(), scene.engines_cpu_seconds()
        drained = await _measure_drain(scene)
        drain_cpu = own_cpu_seconds() - own
        figures["drained_events_per_second"] = round(drained)
        figures["drain_cpu_seconds"] = round(drain_cpu, 2)
        figures["drain_engines_cpu_seconds"] = round(scene.engines_cpu_seconds() - engines, 2)
        say(f"{backend}: limit, the plain client and the ids of the inbox alone")
        plain = await _drain_plainly(scene, backend)
    peers = {"plain_client_events_per_second": round(plain), "drained_to_plain_ratio": round(drained / plain, 2)}
    return Outcome(figures, processes=1, cpu_seconds=total + drain_cpu, peers=peers)


async def _measure_latency(scene: Scene) -> dict[str, float]:
    outbox, handler = scene.outbox, Handler()
    said_at: dict[str, float] = {}

    async def say_one(event: StreamStarted) -> None:
        async with outbox.transaction() as transaction:
            await transaction.say(event)
            said_at[event.subject] = time.perf_counter()

    async def say_all(seconds: int) -> float:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as requests:
            for number, event in enumerate(events(EVENTS_PER_SECOND * seconds)):
                await asyncio.sleep(began + number / EVENTS_PER_SECOND - time.perf_counter())
                requests.create_task(say_one(event))
        return time.perf_counter() - began

    async with _working(scene, outbox, handler):
        await say_all(WARM_UP_SECONDS)
        said_at.clear()
        took = await say_all(PACED_SECONDS)
        await handler.wait_for(EVENTS_PER_SECOND * (WARM_UP_SECONDS + PACED_SECONDS))
    latencies = [handler.handled_at[name] - at for name, at in said_at.items()]
    return {
        "events_per_second": round(len(latencies) / took, 1),
        "to_handler_p50_ms": _ms(percentile(latencies, 0.5)),
        "to_handler_p99_ms": _ms(percentile(latencies, 0.99)),
        "to_handler_max_ms": _ms(max(latencies)),
    }


async def _measure_drain(scene: Scene) -> float:
    handler = Handler()
    began = time.perf_counter()
    async with _working(scene, scene.outbox, handler):
        await handler.wait_for(DRAIN_EVENTS)
        return DRAIN_EVENTS / (time.perf_counter() - began)


async def _append(outbox: Outbox, count: int) -> None:
    backlog = events(count)
    for start in range(0, count, APPEND_EVENTS_MAX):
        async with outbox.transaction() as transaction:
            await transaction.say(*backlog[start : start + APPEND_EVENTS_MAX])


@asynccontextmanager
async def _working(scene: Scene, outbox: Outbox, handler: Handler) -> AsyncIterator[None]:
    """A relay and a consume loop."""
    loop = ConsumeLoop(scene.bus, outbox, Subscription(GROUP, {StreamStarted: handler.hear}))
    relay = scene.bus.relay(scene.dsn, outbox, schema=SCHEMA)
    tasks = {asyncio.create_task(relay.run()), asyncio.create_task(loop.run())}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _drain_plainly(scene: Scene, backend: Backend) -> float:
    """Events a second: read by the plain client, ids remembered in transactions of the consume loop's size."""
    await scene.pool.execute(
        "CREATE TABLE plain_inbox (consumer text, event_id uuid, PRIMARY KEY (consumer, event_id))"
    )

    async def remember(event_ids: Sequence[UUID]) -> None:
        for start in range(0, len(event_ids), REMEMBER_EVENTS_MAX):
            await scene.pool.execute(
                "INSERT INTO plain_inbox SELECT 'plain', unnest($1::uuid[])",
                event_ids[start : start + REMEMBER_EVENTS_MAX],
            )

    began = time.perf_counter()
    count = await (_read_postgres if backend == "postgres" else _read_kafka)(scene, remember)
    return count / (time.perf_counter() - began)


async def _read_postgres(scene: Scene, remember: Callable[[Sequence[UUID]], Awaitable[None]]) -> int:
    count, last_id = 0, 0
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            rows = await scene.pool.fetch(
                "SELECT id, event_id, key, headers, data FROM outbox WHERE id > $1 ORDER BY id LIMIT $2",
                last_id,
                READ_EVENTS_MAX,
            )
            if not rows:
                return count
            await remember([row["event_id"] for row in rows])
            count, last_id = count + len(rows), rows[-1]["id"]


async def _read_kafka(scene: Scene, remember: Callable[[Sequence[UUID]], Awaitable[None]]) -> int:
    wanted = EVENTS_PER_SECOND * (WARM_UP_SECONDS + PACED_SECONDS) + DRAIN_EVENTS
    prefix = scene.settings.kafka_topic_prefix
    consumer = AIOKafkaConsumer(
        prefix + topic_of(StreamStarted).name,
        bootstrap_servers=scene.settings.kafka_bootstrap_servers,
        group_id=prefix + "bench-plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        count = 0
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while count < wanted:
                fetched = await consumer.getmany(timeout_ms=500)
                records = [record for of_one in fetched.values() for record in of_one]
                await remember([UUID(dict(record.headers)["ce_id"].decode()) for record in records])
                count += len(records)
        return count
    finally:
        await consumer.stop()


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)


BENCH = bench_of(BACKENDS)
