"""Deliveries and a channel whose sends go as the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from notify.deliveries.delivery import (
    ChannelName,
    Delivered,
    Delivery,
    Lane,
    Outcome,
    RetrySchedule,
    Sending,
)
from notify.deliveries.queueing import NewDelivery, enqueue
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from runtime.ids import uuid7
from runtime.postgres import Pool

Behaviour = Callable[[Delivery], Awaitable[Outcome] | Outcome]


class TestChannel:
    """Sends by calling `behaviour`, by default everything is delivered."""

    __test__ = False
    name = ChannelName.WEBPUSH

    def __init__(self, behaviour: Behaviour | None = None, *, waits: Sequence[float] = ()) -> None:
        self.schedule = RetrySchedule([timedelta(seconds=wait) for wait in waits])
        self.behaviour: Behaviour = behaviour or (lambda _: Delivered())
        self.sent: list[Delivery] = []
        self.at_once: Counter[str] = Counter()
        self.at_once_max: Counter[str] = Counter()
        self.removed: list[Delivery] = []
        self.heard: list[tuple[Delivery, Outcome, bool]] = []

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        return {one.delivery_id: _Sending(self, one) for one in batch}

    async def remove(self, gone: Sequence[Delivery]) -> None:
        self.removed += gone

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        self.heard += outcomes

    def sent_to(self, provider: str) -> int:
        """How often something was sent to a provider."""
        return sum(one.provider == provider for one in self.sent)


class _Sending:
    def __init__(self, channel: TestChannel, delivery: Delivery) -> None:
        self._channel = channel
        self._delivery = delivery

    async def send(self) -> Outcome:
        channel, provider = self._channel, self._delivery.provider
        channel.sent.append(self._delivery)
        channel.at_once[provider] += 1
        channel.at_once_max[provider] = max(channel.at_once_max[provider], channel.at_once[provider])
        try:
            outcome = channel.behaviour(self._delivery)
            return await outcome if isinstance(outcome, Awaitable) else outcome
        finally:
            channel.at_once[provider] -= 1


def new(
    source_id: UUID | None = None,
    *,
    provider: str = "push.example.org:443",
    lane: Lane = Lane.BULK,
    expires_in: timedelta = timedelta(hours=1),
    **rest: object,
) -> NewDelivery:
    """A delivery to somebody."""
    values: dict[str, object] = {
        "channel": ChannelName.WEBPUSH,
        "lane": lane,
        "source_id": source_id or uuid7(),
        "message_id": uuid7(),
        "user_id": uuid7(),
        "destination_id": uuid7(),
        "provider": provider,
        "expires_at": datetime.now(UTC) + expires_in,
        **rest,
    }
    return NewDelivery(**values)  # type: ignore[arg-type]  # the test names the fields


async def queue(pool: Pool, *deliveries: NewDelivery) -> None:
    """Enqueue in a transaction of their own."""
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(connection, deliveries)


async def make_fanout(pool: Pool, *, state: str = "running") -> UUID:
    """A fan-out that deliveries can be of."""
    fanout_id = uuid7()
    await pool.execute(
        "INSERT INTO fanouts (fanout_id, kind, stream_id, channel_id, channel_name, title, started_at, state) "
        "VALUES ($1, 'stream.started', $1, $1, 'somebody', 'something', now(), $2)",
        fanout_id,
        state,
    )
    return fanout_id


async def seed_queue(pool: Pool, number: int, *, lane: str = "bulk", provider: str = "push.example.org:443") -> UUID:
    """A queue of very many deliveries; the answer is its source."""
    source_id = uuid7()
    await pool.execute(
        "WITH made AS (INSERT INTO delivery_queues (channel, lane, source_id) VALUES ('webpush', $2, $1) RETURNING *) "
        "INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, expires_at) "
        "SELECT queue_id, source_id, gen_random_uuid(), gen_random_uuid(), $3, now() + interval '1 hour' "
        "  FROM made, generate_series(1, $4::integer)",
        source_id,
        lane,
        provider,
        number,
    )
    return source_id


async def waiting(pool: Pool) -> int:
    """How many deliveries are not settled."""
    count: int = await pool.fetchval("SELECT count(*) FROM deliveries")
    return count


async def outcomes(pool: Pool, fanout_id: UUID) -> dict[str, int]:
    """What was counted at a fan-out."""
    rows = await pool.fetch("SELECT outcome, recipients FROM fanout_outcomes WHERE fanout_id = $1", fanout_id)
    return {row["outcome"]: row["recipients"] for row in rows}


@asynccontextmanager
async def running(
    pool: Pool, channel: TestChannel, *, lane: Lane = Lane.BULK, workers: int = 1, **settings: object
) -> AsyncIterator[list[DeliveryWorker]]:
    """Workers that send; stopped, as a process stops them, on leaving."""
    values: dict[str, object] = {"notify_delivery_poll_seconds_max": 0.05, "stop_grace_seconds": 2.0, **settings}
    configured = DeliverySettings.model_validate(values)
    made = [DeliveryWorker(pool, channel, lane, configured) for _ in range(workers)]
    tasks = [asyncio.create_task(worker.run()) for worker in made]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
