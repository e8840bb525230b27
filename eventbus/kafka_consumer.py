"""A member of a Kafka consumer group: manual commits, bounded fetches, bounded starts, commits and farewells.

``fetch`` takes all that the client has: a partition whose records stay behind in the client holds up the others on the
same broker, so the buffers are the caller's, and a full one is paused. Paused partitions are forgotten in a rebalance,
which is right: a partition that comes back begins at its committed offset with an empty buffer.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    UnknownTopicOrPartitionError,
)

from eventbus.bus import BusUnavailable, CommitRefused, Message, Partition, RebalanceListener, UnknownTopic
from eventbus.kafka_names import Names
from eventbus.settings import KafkaSettings

log = structlog.get_logger(__name__)

FETCH_WAIT_MS_MAX = 100
"""How long the broker holds an empty fetch. A resumed partition waits for the fetch in flight, so this is short."""

FETCH_BYTES_MAX = 4 * 1_048_576
PARTITION_FETCH_BYTES_MAX = 524_288
REQUEST_TIMEOUT_MS = 10_000
HEARTBEATS_PER_SESSION = 4
REBALANCE_TIMEOUT_MS = 20_000
POLL_INTERVAL_MS_MAX = 300_000
METADATA_AGE_MS_MAX = 60_000
START_TIMEOUT_SECONDS = 30.0
COMMIT_TIMEOUT_SECONDS = 2.0
UNREAD_TIMEOUT_SECONDS = 5.0
CLOSE_TIMEOUT_SECONDS = 1.0


class KafkaConsumer:
    """See ``eventbus.bus.Consumer``."""

    def __init__(
        self,
        settings: KafkaSettings,
        names: Names,
        group: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        *,
        leaving: set["asyncio.Task[None]"],
    ) -> None:
        """``leaving`` keeps farewells that take longer than ``close`` waits."""
        session_timeout_ms = int(settings.kafka_session_timeout_seconds * 1000)
        self._names = names
        self._topics = tuple(topics)
        self._leaving = leaving
        self._committing: asyncio.Task[None] | None = None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            client_id=f"livestream-{group}",
            group_id=names.there(group),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS_MAX,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // HEARTBEATS_PER_SESSION,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            metadata_max_age_ms=METADATA_AGE_MS_MAX,
        )
        self._consumer.subscribe([names.there(topic) for topic in topics], listener=_Translator(names, listener))

    async def start(self) -> None:
        """Join the group. Raises BusUnavailable, UnknownTopic."""
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await self._consumer.start()
        except UnknownTopicOrPartitionError as error:
            raise UnknownTopic(" or ".join(self._topics)) from error
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise BusUnavailable(f"cannot join the group: {error!r}") from error

    async def close(self) -> None:
        """Leave the group. A broker that is frozen is not waited for longer than a few seconds."""
        # Not cancelled when it takes longer: a client that is stopped half way goes on sending heartbeats, and the
        # group would count on a member that reads nothing.
        leaving = asyncio.create_task(self._leave())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.wait({leaving}, timeout=CLOSE_TIMEOUT_SECONDS)

    async def _leave(self) -> None:
        try:
            await self._consumer.stop()
        except (KafkaError, OSError) as error:
            log.warning("kafka_consumer_left_unclean", reason=repr(error))

    async def fetch(self, *, timeout_seconds: float) -> Mapping[Partition, Sequence[Message]]:
        """See ``Consumer.fetch``."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_seconds * 1000))
        except (KafkaError, OSError) as error:
            raise BusUnavailable(f"the consumer failed: {error!r}") from error
        here = self._names.here
        batches: dict[Partition, Sequence[Message]] = {}
        for place, records in fetched.items():
            topic, number = here(place.topic), place.partition
            batches[Partition(topic, number)] = [
                Message(topic, r.key, r.value, r.headers, number, r.offset, r.timestamp) for r in records
            ]
        return batches

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See ``Consumer.commit``."""
        if self._committing is not None and not self._committing.done():
            raise BusUnavailable("the commit before this one is not answered yet")
        there = self._names.partition_there
        self._committing = asyncio.create_task(
            self._commit({there(place): offset for place, offset in offsets.items()})
        )
        # Not cancelled when it takes longer: the client would go on with it, and nobody would see how it ends.
        self._committing.add_done_callback(_retrieve)
        await asyncio.wait({self._committing}, timeout=COMMIT_TIMEOUT_SECONDS)
        if not self._committing.done():
            raise BusUnavailable(f"no answer to a commit within {COMMIT_TIMEOUT_SECONDS:g} s")
        self._committing.result()

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            raise CommitRefused(str(error)) from error
        except (KafkaError, OSError) as error:
            raise BusUnavailable(f"cannot commit: {error!r}") from error

    def pause(self, partition: Partition) -> None:
        """See ``Consumer.pause``."""
        place = self._names.partition_there(partition)
        if place in self._consumer.assignment():
            self._consumer.pause(place)

    def resume(self, partition: Partition) -> None:
        """See ``Consumer.resume``."""
        place = self._names.partition_there(partition)
        if place in self._consumer.assignment():
            self._consumer.resume(place)

    async def unread(self) -> Mapping[Partition, int]:
        """See ``Consumer.unread``."""
        places = self._consumer.assignment()
        if not places:
            return {}
        try:
            async with asyncio.timeout(UNREAD_TIMEOUT_SECONDS):
                ends = await self._consumer.end_offsets(places)
                return {
                    self._names.partition_here(place): end - await self._consumer.position(place)
                    for place, end in ends.items()
                }
        except IllegalStateError:
            return {}  # a rebalance came between the two questions
        except (KafkaError, OSError) as error:
            raise BusUnavailable(f"cannot ask how much is unread: {error!r}") from error


def _retrieve(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()


class _Translator(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes rebalances on under our names."""

    def __init__(self, names: Names, listener: RebalanceListener) -> None:
        self._names = names
        self._listener = listener

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._listener.on_revoked(self._translated(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._listener.on_assigned(self._translated(assigned))

    def _translated(self, places: set[TopicPartition]) -> frozenset[Partition]:
        return frozenset(self._names.partition_here(place) for place in places)
