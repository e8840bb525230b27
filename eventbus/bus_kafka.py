"""The bus on Kafka: idempotent producing with all acknowledgements, manual commits, topic names with a prefix."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pydantic import SecretStr

from eventbus.bus import Consumer, EventBus, Message, RebalanceListener, Record
from eventbus.kafka_consumer import KafkaConsumer
from eventbus.kafka_names import Names
from eventbus.kafka_producer import KafkaProducer
from eventbus.kafka_reader import read_topic
from eventbus.outbox import Outbox
from eventbus.relay import Relay
from eventbus.settings import KafkaSettings
from runtime.health import Health
from runtime.service import Service
from runtime.waiting import wait_for

CHECK_TIMEOUT_SECONDS = 2.0
FAREWELL_TIMEOUT_SECONDS = 0.5


class KafkaBus:
    """One producer, and consumers on demand. Made by ``open_bus``."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._servers = settings.kafka_bootstrap_servers
        self._names = Names(settings.kafka_topic_prefix)
        self._leaving: set[asyncio.Task[None]] = set()
        self._producer = KafkaProducer(self._servers, self._names)

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""
        await self._producer.start()

    async def close(self) -> None:
        """Let go of the broker, within a few seconds even if it is frozen."""
        await self._producer.close()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=FAREWELL_TIMEOUT_SECONDS)
        for task in self._leaving:
            task.cancel()

    async def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher.publish``."""
        await self._producer.publish(records)

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AbstractAsyncContextManager[Consumer]:
        """See ``EventBus.consumer``."""
        return self._consumer(group, topics, listener)

    @asynccontextmanager
    async def _consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AsyncIterator[Consumer]:
        consumer = KafkaConsumer(self._settings, self._names, group, topics, listener, leaving=self._leaving)
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.close()

    def read(self, topic: str, *, start: Mapping[int, int] | None = None) -> AsyncIterator[Message]:
        """See ``EventBus.read``."""
        return read_topic(self._servers, self._names, topic, start)

    def relay(self, dsn: SecretStr, outbox: Outbox, *, schema: str, health: Health | None = None) -> Service:
        """See ``EventBus.relay``."""
        return Relay(dsn, self, outbox, schema=schema, health=health)

    async def check(self) -> None:
        """See ``EventBus.check``."""
        await self._producer.check(timeout_seconds=CHECK_TIMEOUT_SECONDS)


def open_bus(settings: KafkaSettings) -> AbstractAsyncContextManager[EventBus]:
    """The bus of a process; waits for Kafka, saying so."""
    return _open_bus(settings)


@asynccontextmanager
async def _open_bus(settings: KafkaSettings) -> AsyncIterator[EventBus]:
    bus = KafkaBus(settings)
    try:
        await wait_for("kafka", bus.start, attempt_timeout_seconds=30.0)
        yield bus
    finally:
        await asyncio.shield(bus.close())
