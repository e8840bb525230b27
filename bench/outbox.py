"""How late an event is: from the commit that says it to Kafka's acknowledgement, and how fast a backlog drains.

One process, as in a service: its requests write, its relay publishes. The clock of an event starts before the COMMIT is
sent, so the commit itself is in the figure. The limit is measured in the same run: the same records through a plain
producer with the same guarantees, record by record.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from bench.bus_scene import SCHEMA, Scene, events, open_scene, own_cpu_seconds
from bench.report import Bar, Bench, Outcome, Say, percentile
from eventbus.bus import EventBus, Record
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.outbox import Outbox, Transaction
from eventbus.relay import Relay
from events import Envelope, StreamStarted, encode, topic_of
from runtime.ids import uuid7

EVENTS_PER_SECOND = 1_000
PACED_SECONDS = 20
WARM_UP_SECONDS = 3
DRAIN_EVENTS = 120_000
APPEND_EVENTS_MAX = 500
LONE_EVENTS = 30
LONE_INTERVAL_SECONDS = 1.0
WAIT_SECONDS_MAX = 120.0

BARS = (
    Bar("ack_p99_ms", "<=", 50),
    Bar("drain_events_per_second", ">=", 10_000),
    Bar("one_a_second_to_handler_p99_ms", "<=", 100),
)


class Clocked:
    """Publishes through the bus and notes when each event's acknowledgement came."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self.acknowledged_at: dict[bytes, float] = {}
        self.count = 0

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish; the events are told apart by the stream's id, which is their CloudEvents subject."""
        await self._bus.publish(records)
        now = time.perf_counter()
        self.count += len(records)
        for record in records:
            self.acknowledged_at[next(value for name, value in record.headers if name == "ce_subject")] = now


async def measure(directory: Path, say: Say) -> Outcome:
    """Measure latency at a steady rate, the drain of a backlog, and the plain producer."""
    async with open_scene(directory, say) as scene:
        own, engines = own_cpu_seconds(), scene.engines_cpu_seconds()
        figures = await _measure_latency(scene, say)
        latency_cpu = own_cpu_seconds() - own
        figures |= await _measure_lone_events(scene, say)
        figures |= await _measure_drain(scene, say)
        total, engines_total = own_cpu_seconds() - own, scene.engines_cpu_seconds() - engines
        figures["paced_cpu_seconds"] = round(latency_cpu, 2)
        figures["engines_cpu_seconds"] = round(engines_total, 2)
        plain = await _measure_plain_producer(scene, say)
    peers = {
        "plain_producer_events_per_second": plain,
        "drain_to_plain_producer_ratio": round(figures["drain_events_per_second"] / plain, 2),
    }
    return Outcome(figures, processes=1, cpu_seconds=round(total, 2), peers=peers)


async def _measure_latency(scene: Scene, say: Say) -> dict[str, float]:
    say(f"latency: {EVENTS_PER_SECOND} events a second for {PACED_SECONDS} s")
    async with _relaying(scene) as (clocked, outbox):
        said_at: dict[bytes, float] = {}

        async def say_one(event: StreamStarted) -> None:
            async with outbox.transaction() as transaction:
                await transaction.say(event)
                said_at[event.subject.encode()] = time.perf_counter()

        async def say_all(seconds: int) -> float:
            began = time.perf_counter()
            async with asyncio.TaskGroup() as requests:
                for number, event in enumerate(events(EVENTS_PER_SECOND * seconds)):
                    await asyncio.sleep(began + number / EVENTS_PER_SECOND - time.perf_counter())
                    requests.create_task(say_one(event))
            return time.perf_counter() - began

        await say_all(WARM_UP_SECONDS)
        said_at.clear()
        took = await say_all(PACED_SECONDS)
        await _until_count(clocked, EVENTS_PER_SECOND * (WARM_UP_SECONDS + PACED_SECONDS))
        latencies = [clocked.acknowledged_at[name] - at for name, at in said_at.items()]
    return {
        "events_per_second": round(len(latencies) / took, 1),
        "ack_p50_ms": _ms(percentile(latencies, 0.5)),
        "ack_p99_ms": _ms(percentile(latencies, 0.99)),
        "ack_max_ms": _ms(max(latencies)),
    }


async def _measure_lone_events(scene: Scene, say: Say) -> dict[str, float]:
    say(f"lone events: one a second, {LONE_EVENTS} times, to the handler")
    said_at: dict[str, float] = {}
    latencies: list[float] = []
    heard = asyncio.Event()

    async def hear(_transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        if (at := said_at.get(envelope.event.subject)) is not None:
            latencies.append(time.perf_counter() - at)
            heard.set()

    async with _relaying(scene) as (_, outbox):
        loop = ConsumeLoop(scene.bus, outbox, Subscription("bench-lone", {StreamStarted: hear}))
        consuming = asyncio.create_task(loop.run())
        for event in events(LONE_EVENTS + 1):
            heard.clear()
            async with outbox.transaction() as transaction:
                await transaction.say(event)
                said_at[event.subject] = time.perf_counter()
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await heard.wait()
            await asyncio.sleep(LONE_INTERVAL_SECONDS)
        consuming.cancel()
        await asyncio.wait({consuming})
    latencies = latencies[1:]  # the first waited for the group to catch up with the events before
    return {
        "one_a_second_to_handler_p50_ms": _ms(percentile(latencies, 0.5)),
        "one_a_second_to_handler_p99_ms": _ms(percentile(latencies, 0.99)),
    }


async def _measure_drain(scene: Scene, say: Say) -> dict[str, float]:
    say(f"drain: appending {DRAIN_EVENTS} events while no relay runs")
    outbox, backlog = scene.outbox, events(DRAIN_EVENTS)
    for start in range(0, DRAIN_EVENTS, APPEND_EVENTS_MAX):
        async with outbox.transaction() as transaction:
            await transaction.say(*backlog[start : start + APPEND_EVENTS_MAX])
    say("drain: relaying them")
    own, began = own_cpu_seconds(), time.perf_counter()
    async with _relaying(scene) as (clocked, _):
        await _until_count(clocked, DRAIN_EVENTS)
        took = time.perf_counter() - began
    return {
        "drain_events": float(DRAIN_EVENTS),
        "drain_events_per_second": round(DRAIN_EVENTS / took),
        "drain_cpu_seconds": round(own_cpu_seconds() - own, 2),
    }


async def _measure_plain_producer(scene: Scene, say: Say) -> float:
    """The limit: no outbox, no database; each record handed to the client, waited for a thousand at a time."""
    say("limit: the same records through a plain producer")
    records = [_record(event) for event in events(DRAIN_EVENTS // 2)]
    prefix = scene.settings.kafka_topic_prefix
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.settings.kafka_bootstrap_servers, enable_idempotence=True, acks="all", linger_ms=0
    )
    await producer.start()
    try:
        began = time.perf_counter()
        for start in range(0, len(records), 1_000):
            await asyncio.gather(
                *[
                    await producer.send(prefix + r.topic, r.value, r.key, headers=list(r.headers))
                    for r in records[start : start + 1_000]
                ]
            )
        return round(len(records) / (time.perf_counter() - began))
    finally:
        await producer.stop()


def _record(event: StreamStarted) -> Record:
    envelope = Envelope(id=uuid7(), source=SCHEMA, time=event.started_at, event=event)
    key, value, headers = encode(envelope)
    return Record(topic_of(event).name, key, value, headers)


@asynccontextmanager
async def _relaying(scene: Scene) -> AsyncIterator[tuple[Clocked, Outbox]]:
    clocked, outbox = Clocked(scene.bus), scene.outbox
    relaying = asyncio.create_task(Relay(scene.dsn, clocked, outbox, schema=SCHEMA).run())
    try:
        yield clocked, outbox
    finally:
        relaying.cancel()
        await asyncio.wait({relaying})


async def _until_count(clocked: Clocked, count: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            if clocked.count >= count:
                return
            await asyncio.sleep(0.005)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)


BENCH = Bench(
    name="outbox",
    description="Commit to Kafka's acknowledgement at 1,000 events a second; a backlog's drain; one event a second.",
    bars=BARS,
    measure=measure,
)
