"""How many messages a second the consume loop applies: bare, and with its inbox and an effect.

- Bare: the whole loop (fetch, buffers, decoding, tracing, commits) with a handler that does nothing and, in place of
  the inbox, one that opens no transaction and remembers nothing. It shows what the loop itself costs.
- With effects: the real inbox, and a handler that inserts one row.

The limit is measured in the same run: a plain client that fetches and throws away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from bench.bus_scene import SCHEMA, Scene, events, open_scene, own_cpu_seconds
from bench.report import Bar, Bench, Outcome, Say
from eventbus.bus import Record
from eventbus.consume import ConsumeLoop, Handler, Subscription
from eventbus.inbox import Claim, Inbox
from eventbus.inbox_memory import MemoryTransaction
from eventbus.outbox import Outbox, Transaction
from events import Envelope, StreamStarted, encode, topic_of
from runtime.ids import uuid7

MESSAGES = 120_000
EFFECTS = 40_000
PUBLISH_RECORDS_MAX = 2_000
WAIT_SECONDS_MAX = 180.0

BARS = (Bar("noop_messages_per_second", ">=", 20_000), Bar("effects_per_second", ">=", 3_000))


class ForgetfulInbox:
    """Stands in for the inbox: everything is new, nothing is remembered, no transaction is opened."""

    @asynccontextmanager
    async def claim(self, consumer: str, event_ids: Sequence[UUID]) -> AsyncIterator[Claim]:
        """Claim all."""
        yield Claim(MemoryTransaction(), set(event_ids))


async def measure(directory: Path, say: Say) -> Outcome:
    """Publish, then consume the same messages in three ways."""
    async with open_scene(directory, say) as scene:
        await scene.pool.execute("CREATE TABLE effects (event_id uuid NOT NULL, title text NOT NULL)")
        say(f"publishing {MESSAGES} messages")
        await _publish(scene, MESSAGES)
        own, engines = own_cpu_seconds(), scene.engines_cpu_seconds()
        say(f"bare loop: {MESSAGES} messages")
        noop = await _consume(scene, "bench-noop", MESSAGES, _do_nothing, ForgetfulInbox())
        noop_cpu = own_cpu_seconds() - own
        say(f"with effects: {EFFECTS} messages")
        effects = await _consume(scene, "bench-effects", EFFECTS, _insert_row, scene.outbox)
        rows = await scene.pool.fetchval("SELECT count(*) FROM effects")
        total, engines_total = own_cpu_seconds() - own, scene.engines_cpu_seconds() - engines
        say("limit: a plain client that throws everything away")
        plain = await _consume_plainly(scene)
    if rows < EFFECTS:
        raise RuntimeError(f"{rows} effects of {EFFECTS}")
    figures = {
        "noop_messages_per_second": round(noop),
        "noop_cpu_seconds": round(noop_cpu, 2),
        "effects_per_second": round(effects),
        "effects_cpu_seconds": round(total - noop_cpu, 2),
        "engines_cpu_seconds": round(engines_total, 2),
    }
    peers = {"plain_client_messages_per_second": round(plain), "noop_to_plain_client_ratio": round(noop / plain, 2)}
    return Outcome(figures, processes=1, cpu_seconds=round(total, 2), peers=peers)


async def _do_nothing(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    """Nothing."""


async def _insert_row(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    await transaction.connection.execute("INSERT INTO effects VALUES ($1, $2)", envelope.id, envelope.event.title)


async def _publish(scene: Scene, count: int) -> None:
    for start in range(0, count, PUBLISH_RECORDS_MAX):
        batch = events(min(PUBLISH_RECORDS_MAX, count - start))
        await scene.bus.publish([_record(event) for event in batch])


def _record(event: StreamStarted) -> Record:
    envelope = Envelope(id=uuid7(), source=SCHEMA, time=event.started_at, event=event)
    key, value, headers = encode(envelope)
    return Record(topic_of(event).name, key, value, headers)


async def _consume(
    scene: Scene, group: str, count: int, handler: Handler[StreamStarted], inbox: Outbox | Inbox
) -> float:
    """Messages a second from the first to the ``count``-th."""
    handled = 0
    began = 0.0
    done = asyncio.Event()

    async def count_up(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        nonlocal handled, began
        if handled == 0:
            began = time.perf_counter()
        await handler(transaction, envelope)
        handled += 1
        if handled == count:
            done.set()

    loop = asyncio.create_task(ConsumeLoop(scene.bus, inbox, Subscription(group, {StreamStarted: count_up})).run())
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await done.wait()
        return count / (time.perf_counter() - began)
    finally:
        loop.cancel()
        await asyncio.wait({loop})


async def _consume_plainly(scene: Scene) -> float:
    consumer = AIOKafkaConsumer(
        scene.settings.kafka_topic_prefix + topic_of(StreamStarted).name,
        bootstrap_servers=scene.settings.kafka_bootstrap_servers,
        group_id=scene.settings.kafka_topic_prefix + "bench-plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        seen, began = 0, 0.0
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while seen < MESSAGES:
                fetched = await consumer.getmany(timeout_ms=500)
                began = began or time.perf_counter()
                seen += sum(map(len, fetched.values()))
        return seen / (time.perf_counter() - began)
    finally:
        await consumer.stop()


BENCH = Bench(
    name="consume",
    description="Messages a second through the consume loop, bare and with inbox and a one-row effect.",
    bars=BARS,
    measure=measure,
)
