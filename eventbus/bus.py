"""The bus as the rest of the code sees it: records go in, messages come out by group and partition.

Order holds within a partition, and records of one key share a partition. Delivery is at least once. Offsets ascend
within a partition; they may have holes. Backends: ``bus_kafka``, ``bus_postgres`` (no broker: the outbox is the log)
and ``bus_memory`` (tests, one process); one conformance suite holds all.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import SecretStr

from runtime.health import Health
from runtime.service import Service

if TYPE_CHECKING:
    from eventbus.outbox import Outbox

Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One ordered log of a topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """What is published. The key decides the partition; None spreads."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Message(NamedTuple):
    """What was published, with where it lies. ``timestamp_ms`` is Unix time in milliseconds."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """The partition it lies in."""
        return Partition(self.topic, self.partition)


class BusError(Exception):
    """Base of what the bus raises.

    BusError
    ├── BusUnavailable   the broker does not answer: the same call may work later
    │   └── UnknownTopic   nobody has created the topic yet
    ├── RecordRefused    the broker will never take this record (too large)
    └── CommitRefused    the partition now belongs to another member; its work is theirs
    """


class BusUnavailable(BusError, ConnectionError):
    """The broker does not answer or cannot serve now."""


class UnknownTopic(BusUnavailable):
    """The topic does not exist (yet). ``topic`` names it; on Kafka, `livestream topics create` makes it."""

    def __init__(self, topic: str, *, remedy: str = "run `livestream topics create`") -> None:
        super().__init__(f"topic {topic} does not exist: {remedy}")
        self.topic = topic


class RecordRefused(BusError):
    """A record that no retry will get accepted."""


class CommitRefused(BusError):
    """The group has rebalanced; somebody else owns the partition."""


class Publisher(Protocol):
    """Takes records."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish in order per key; returns once every record is acknowledged by the broker.

        Raises:
            BusUnavailable: some may have been taken, some not; publishing all again is the remedy.
            RecordRefused: one of them will never be taken.
        """
        ...


class RebalanceListener(Protocol):
    """Is told when partitions come and go; while ``on_revoked`` runs the group waits, so it must be bounded."""

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """The last moment to commit what was done for ``partitions``."""
        ...

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """``partitions`` are ours from their committed offsets on; none of them is paused."""
        ...


class Consumer(Protocol):
    """One member of a group."""

    async def fetch(self, *, timeout_seconds: float) -> Mapping[Partition, Sequence[Message]]:
        """The next messages of every unpaused partition, in order; empty after ``timeout_seconds`` without any.

        Not to be cancelled while the consumer is to live on. Raises BusUnavailable when the consumer must be opened
        anew.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Remember, per partition, the offset to read next. Raises CommitRefused, BusUnavailable."""
        ...

    def pause(self, partition: Partition) -> None:
        """Leave ``partition`` out of fetches until resumed; does nothing if it is not ours."""
        ...

    def resume(self, partition: Partition) -> None:
        """Fetch from ``partition`` again; does nothing if it is not ours."""
        ...

    async def unread(self) -> Mapping[Partition, int]:
        """For every partition that is ours, how many messages are not fetched yet. Raises BusUnavailable."""
        ...


class EventBus(Publisher, Protocol):
    """Everything a process does with the bus."""

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AbstractAsyncContextManager[Consumer]:
        """Join ``group`` for ``topics``; leaving the context leaves the group at once.

        A group that has never committed starts at the beginning. Entering raises BusUnavailable.
        """
        ...

    def read(self, topic: str, *, start: Mapping[int, int] | None = None) -> AsyncIterator[Message]:
        """Everything in ``topic`` up to its end at the time of the call, without a group.

        ``start`` maps partition numbers to first offsets and leaves out the partitions it does not name.
        Raises BusUnavailable.
        """
        ...

    def relay(self, dsn: SecretStr, outbox: "Outbox", *, schema: str, health: Health | None = None) -> Service:
        """The service that makes what was said in ``schema``'s outbox readable for consumers.

        One in every process that says events; one of them leads, the others stand by. ``dsn`` reaches the schema's
        database directly, not through a pooler.
        """
        ...

    async def check(self) -> None:
        """Ask the broker for an answer within two seconds. Raises BusUnavailable."""
        ...
