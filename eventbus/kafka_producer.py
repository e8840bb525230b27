"""Publishing to Kafka: one idempotent producer, whole batches per partition, bounded waits, a new start after failure.

Whole batches are built here and not record by record in the client, which costs a future, a partition lookup and a
metadata check per record (about four times the CPU for a batch of a thousand).

After any failure the producer is thrown away and a new one made for the next call: an idempotent producer whose batch
was refused answers every later batch of that partition with a sequence error.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from random import randrange

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from eventbus.bus import BusUnavailable, Record, RecordRefused, UnknownTopic
from eventbus.kafka_names import Names

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_MS = 10_000
METADATA_AGE_MS_MAX = 60_000
BATCH_BYTES_MAX = 900_000
"""Below the broker's message.max.bytes (1,048,588), which bounds a batch."""

PUBLISH_TIMEOUT_SECONDS = 60.0
"""Longer than a broker's restart; then the producer is given up and the caller decides."""

TOPIC_WAIT_SECONDS = 5.0
CLOSE_TIMEOUT_SECONDS = 1.0
REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)


class KafkaProducer:
    """Publishes for a whole process; safe to call from several tasks."""

    def __init__(self, servers: str, names: Names) -> None:
        self._servers = servers
        self._names = names
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises BusUnavailable."""
        await self._started()

    async def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher.publish``."""
        if not records:
            return
        producer = await self._started()
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                await self._send(producer, records)
        except TimeoutError as error:
            await self._give_up(producer)
            raise BusUnavailable(f"no acknowledgement within {PUBLISH_TIMEOUT_SECONDS:g} s") from error
        except REFUSALS as error:
            await self._give_up(producer)
            raise RecordRefused(f"Kafka refuses a record: {error!r}") from error
        except KafkaError as error:
            await self._give_up(producer)
            raise BusUnavailable(f"Kafka did not take the records: {error!r}") from error

    async def check(self, *, timeout_seconds: float) -> None:
        """Ask for metadata. Raises BusUnavailable."""
        producer = await self._started()
        try:
            async with asyncio.timeout(timeout_seconds):
                await producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError) as error:
            raise BusUnavailable(f"Kafka does not answer: {error!r}") from error

    async def close(self) -> None:
        """Stop; what is not acknowledged by then was not promised to anybody."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await producer.stop()
        except (KafkaError, TimeoutError):
            await _abandon(producer)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        async with self._starting:
            if self._producer is None:
                self._producer = await self._make()
            return self._producer

    async def _make(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            client_id="livestream-producer",
            enable_idempotence=True,
            acks="all",
            linger_ms=0,  # the relay brings batches; waiting for more would only add to every latency
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_AGE_MS_MAX,
        )
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                await producer.start()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            await _abandon(producer)
            raise BusUnavailable(f"cannot connect to Kafka at {self._servers}: {error!r}") from error
        except BaseException:
            await _abandon(producer)
            raise
        return producer

    async def _give_up(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            log.warning("kafka_producer_given_up")
            await _abandon(producer)

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        by_partition: dict[tuple[str, int], list[Record]] = defaultdict(list)
        partitions: dict[str, int] = {}
        for record in records:
            topic = record.topic
            if topic not in partitions:
                partitions[topic] = await self._partitions_of(producer, topic)
            by_partition[topic, partition_for(record.key, partitions[topic])].append(record)
        sends = [
            self._send_to(producer, self._names.there(topic), number, some)
            for (topic, number), some in by_partition.items()
        ]
        if len(sends) == 1:
            await sends[0]
        else:
            await asyncio.gather(*sends)

    async def _partitions_of(self, producer: AIOKafkaProducer, topic: str) -> int:
        try:
            async with asyncio.timeout(TOPIC_WAIT_SECONDS):
                return len(await producer.partitions_for(self._names.there(topic)))
        except UnknownTopicOrPartitionError as error:
            raise UnknownTopic(topic) from error
        except TimeoutError as error:
            await self.check(timeout_seconds=TOPIC_WAIT_SECONDS)  # an away broker says so here
            raise UnknownTopic(topic) from error

    async def _send_to(self, producer: AIOKafkaProducer, topic: str, number: int, records: Sequence[Record]) -> None:
        acknowledgements = []
        builder = producer.create_batch()
        for record in records:
            headers = list(record.headers)
            if builder.append(timestamp=None, key=record.key, value=record.value, headers=headers) is not None:
                continue
            if builder.record_count() > 0:
                acknowledgements.append(await producer.send_batch(builder, topic, partition=number))
                builder = producer.create_batch()
                if builder.append(timestamp=None, key=record.key, value=record.value, headers=headers) is not None:
                    continue
            raise MessageSizeTooLargeError(f"a record for {topic} does not fit in {BATCH_BYTES_MAX} bytes")
        acknowledgements.append(await producer.send_batch(builder, topic, partition=number))
        await asyncio.gather(*acknowledgements)


def partition_for(key: bytes | None, partitions: int) -> int:
    """The partition of a key, as Kafka's own clients choose it; any for None."""
    if key is None:
        return randrange(partitions)  # noqa: S311  spreads load, hides nothing
    return _hash(key) % partitions


@lru_cache(maxsize=16_384)
def _hash(key: bytes) -> int:
    # The client's murmur2 is pure Python (about 10 µs a key); keys repeat.
    return int(murmur2(key)) & 0x7FFFFFFF


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End a producer whose broker does not answer. ``stop()`` alone would wait for its batches, possibly for ever."""
    producer._closed = True
    producer._message_accumulator.fail_all(KafkaError("the producer was given up"))
    sender_task = producer._sender.sender_task
    if sender_task is not None:
        sender_task.cancel()
        # Closing the connections ends the requests that the sender still waits for.
        await producer.client.close()
        await asyncio.wait({sender_task}, timeout=CLOSE_TIMEOUT_SECONDS)
    await producer.client.close()
