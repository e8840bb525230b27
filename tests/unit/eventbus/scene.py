"""A bus, an inbox and a handler for the tests of the consume loop, all in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from eventbus.bus import (
    BusUnavailable,
    Message,
    Partition,
    Record,
)
from eventbus.bus_memory import MemoryBus
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.inbox_memory import MemoryInbox
from eventbus.outbox import Transaction
from events import DEAD_LETTERS, AccountRegistered, Envelope, Event, encode, topic_of
from runtime.health import Health
from runtime.ids import uuid7
from runtime.trace import current_trace

DEADLINE_SECONDS = 30.0
TOPIC = topic_of(AccountRegistered).name
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def registered(username: str) -> Envelope[AccountRegistered]:
    now = datetime.now(UTC)
    event = AccountRegistered(user_id=uuid7(), username=username, registered_at=now)
    return Envelope(id=uuid7(), source="accounts", time=now, event=event, traceparent=TRACEPARENT)


def record_of(envelope: Envelope[Event]) -> Record:
    _, value, headers = encode(envelope)
    return Record(topic_of(envelope.event).name, b"one key", value, headers)


def with_header(record: Record, name: str, value: bytes) -> Record:
    return record._replace(headers=(*((n, v) for n, v in record.headers if n != name), (name, value)))


@dataclass
class Scene:
    """A bus, an inbox, and a handler that notes what it is given."""

    bus: MemoryBus = field(default_factory=lambda: MemoryBus({TOPIC: 2, "streams.v1": 1, DEAD_LETTERS.name: 1}))
    inbox: MemoryInbox = field(default_factory=MemoryInbox)
    health: Health = field(default_factory=Health)
    names: list[str] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)
    react: Callable[[str], Awaitable[None]] | None = None

    async def handle(self, transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        trace = current_trace()
        self.trace_ids.append("" if trace is None else trace.trace_id)
        if self.react is not None:
            await self.react(envelope.event.username)
        self.names.append(envelope.event.username)

    def subscription(self, **bounds: float) -> Subscription:
        defaults: dict[str, float] = {"retry_first_seconds": 0.01, "retry_ceiling_seconds": 0.02}
        return Subscription("chat-accounts", {AccountRegistered: self.handle}, **(defaults | bounds))  # type: ignore[arg-type]  # ints and floats by name

    @asynccontextmanager
    async def consuming(self, stuck_after_seconds: float = 60.0, **bounds: float) -> AsyncIterator[ConsumeLoop]:
        loop = ConsumeLoop(
            self.bus,
            self.inbox,
            self.subscription(**bounds),
            health=self.health,
            stuck_after_seconds=stuck_after_seconds,
        )
        task = asyncio.create_task(loop.run())
        try:
            yield loop
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def say(self, *records: Record) -> None:
        await self.bus.publish(records)

    async def dead(self, count: int) -> Sequence[Message]:
        log = self.bus.log_of(Partition(DEAD_LETTERS.name, 0))
        await until(lambda: len(log) >= count)
        return log

    def committed(self) -> int:
        return sum(self.bus.committed("chat-accounts").values())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def is_unready(loop: ConsumeLoop) -> bool:
    try:
        loop.check()
    except BusUnavailable:
        return True
    return False
