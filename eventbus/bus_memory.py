"""The bus's twin in memory, for one process: same partitions by key, same groups, same redelivery."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle
from zlib import crc32

from pydantic import SecretStr

from eventbus.bus import (
    CommitRefused,
    Consumer,
    Message,
    Partition,
    RebalanceListener,
    Record,
    RecordRefused,
    UnknownTopic,
)
from eventbus.outbox import Outbox
from eventbus.relay import Relay
from runtime.health import Health
from runtime.service import Service

RECORD_BYTES_MAX = 900_000


class MemoryBus:
    """Topics are made with ``create_topic``; nothing is ever forgotten, so it is for tests."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._logs: dict[Partition, list[Message]] = {}
        self._counts: dict[str, int] = {}
        self._groups: dict[str, _Group] = {}
        self._spread = cycle(range(1_000_000))
        self.arrived = asyncio.Condition()
        for topic, partitions in (topics or {}).items():
            self.create_topic(topic, partitions)

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic; does nothing if it exists."""
        if topic not in self._counts:
            self._counts[topic] = partitions
            self._logs.update({Partition(topic, number): [] for number in range(partitions)})

    async def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher.publish``. All or none."""
        for record in records:
            if record.topic not in self._counts:
                raise UnknownTopic(record.topic)
            if len(record.key or b"") + len(record.value or b"") > RECORD_BYTES_MAX:
                raise RecordRefused(f"a record for {record.topic} exceeds {RECORD_BYTES_MAX} bytes")
        for record in records:
            self._append(record)
        async with self.arrived:
            self.arrived.notify_all()

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AbstractAsyncContextManager[Consumer]:
        """See ``EventBus.consumer``."""
        return self._consumer(group, topics, listener)

    @asynccontextmanager
    async def _consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AsyncIterator[Consumer]:
        for topic in topics:
            if topic not in self._counts:
                raise UnknownTopic(topic)
        joined = self._groups.setdefault(group, _Group())
        member = MemoryConsumer(self, joined, frozenset(topics), listener)
        await joined.change(self, add=member)
        try:
            yield member
        finally:
            member.closed = True
            await joined.change(self, remove=member)

    async def read(self, topic: str, *, start: Mapping[int, int] | None = None) -> AsyncIterator[Message]:
        """See ``EventBus.read``."""
        if topic not in self._counts:
            raise UnknownTopic(topic)
        for number in range(self._counts[topic]) if start is None else sorted(start):
            for message in list(self._logs[Partition(topic, number)])[0 if start is None else start[number] :]:
                yield message

    def relay(self, dsn: SecretStr, outbox: Outbox, *, schema: str, health: Health | None = None) -> Service:
        """See ``EventBus.relay``."""
        return Relay(dsn, self, outbox, schema=schema, health=health)

    async def check(self) -> None:
        """See ``EventBus.check``."""

    def partitions_of(self, topics: frozenset[str]) -> list[Partition]:
        """All partitions of the topics."""
        return [place for place in self._logs if place.topic in topics]

    def committed(self, group: str) -> Mapping[Partition, int]:
        """The offsets that a group has committed."""
        return self._groups[group].committed if group in self._groups else {}

    def log_of(self, partition: Partition) -> Sequence[Message]:
        """Everything published to a partition."""
        return self._logs[partition]

    def _append(self, record: Record) -> None:
        count = self._counts[record.topic]
        number = (next(self._spread) if record.key is None else crc32(record.key)) % count
        log = self._logs[Partition(record.topic, number)]
        now_ms = int(time.time() * 1000)
        log.append(Message(record.topic, record.key, record.value, tuple(record.headers), number, len(log), now_ms))


class _Group:
    """Members and committed offsets of one group."""

    def __init__(self) -> None:
        self.committed: dict[Partition, int] = {}
        self._members: list[MemoryConsumer] = []
        self._changing = asyncio.Lock()

    async def change(
        self, bus: MemoryBus, *, add: "MemoryConsumer | None" = None, remove: "MemoryConsumer | None" = None
    ) -> None:
        """Rebalance as Kafka does: everything is revoked, then shared out anew."""
        async with self._changing:
            for member in self._members:
                held = frozenset(member.positions)
                if held and member is not remove:
                    await member.listener.on_revoked(held)
                member.positions.clear()
                member.paused.clear()
            if remove is not None:
                self._members.remove(remove)
            if add is not None:
                self._members.append(add)
            shares: dict[MemoryConsumer, list[Partition]] = {member: [] for member in self._members}
            for topic in {topic for member in self._members for topic in member.topics}:
                takers = cycle([member for member in self._members if topic in member.topics])
                for place in bus.partitions_of(frozenset({topic})):
                    shares[next(takers)].append(place)
            for member, share in shares.items():
                member.positions.update({place: self.committed.get(place, 0) for place in share})
                await member.listener.on_assigned(frozenset(share))
        async with bus.arrived:
            bus.arrived.notify_all()


class MemoryConsumer:
    """See ``eventbus.bus.Consumer``."""

    def __init__(self, bus: MemoryBus, group: _Group, topics: frozenset[str], listener: RebalanceListener) -> None:
        self.topics = topics
        self.listener = listener
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.closed = False
        self._bus = bus
        self._group = group

    async def fetch(self, *, timeout_seconds: float) -> Mapping[Partition, Sequence[Message]]:
        """See ``Consumer.fetch``."""
        try:
            async with asyncio.timeout(timeout_seconds), self._bus.arrived:
                await self._bus.arrived.wait_for(self._has_news)
        except TimeoutError:
            return {}
        return self._take()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See ``Consumer.commit``."""
        lost = [place for place in offsets if place not in self.positions]
        if lost:
            raise CommitRefused(f"not ours: {lost}")
        self._group.committed.update(offsets)

    def pause(self, partition: Partition) -> None:
        """See ``Consumer.pause``."""
        if partition in self.positions:
            self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        """See ``Consumer.resume``. A fetch that is waiting hears of it with the next arrival or its timeout."""
        self.paused.discard(partition)

    async def unread(self) -> Mapping[Partition, int]:
        """See ``Consumer.unread``."""
        return {place: len(self._bus.log_of(place)) - position for place, position in self.positions.items()}

    def _has_news(self) -> bool:
        return any(
            position < len(self._bus.log_of(place))
            for place, position in self.positions.items()
            if place not in self.paused
        )

    def _take(self) -> dict[Partition, Sequence[Message]]:
        taken: dict[Partition, Sequence[Message]] = {}
        for place, position in self.positions.items():
            log = self._bus.log_of(place)
            if place not in self.paused and position < len(log):
                taken[place] = log[position:]
                self.positions[place] = len(log)
        return taken
