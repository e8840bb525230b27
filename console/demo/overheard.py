"""What is said on Kafka while the story goes on: read as any consumer would, without a group of its own."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from console.demo.steps import StepFailed
from events import Envelope, Event, decode
from events.topics import EVENT_MODELS, STREAMS

FETCH_MS = 200


class Overheard:
    """Everything said on the streams topic since it was entered, with the time at which it was heard."""

    def __init__(self, bootstrap_servers: str, topic_prefix: str) -> None:
        self._topic = f"{topic_prefix}{STREAMS.name}"
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
        self._heard: list[tuple[Envelope[Event], float]] = []
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        partitions = [TopicPartition(self._topic, number) for number in range(STREAMS.partitions)]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_end(*partitions)
        self._stopping = False
        self._task = asyncio.create_task(self._listen(), name="overheard")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True  # a fetch is never cancelled: it ends by its own timeout
        await self._task
        await self._consumer.stop()

    def count(self, channel_id: UUID, event_type: str) -> int:
        """How often this was said of a channel."""
        return sum(_matches(envelope.event, event_type, channel_id=channel_id) for envelope, _ in self._heard)

    async def first(self, stream_id: UUID, event_type: str, *, within_seconds: float) -> float:
        """When this was first heard of a stream, in wall-clock seconds; StepFailed when it is not heard in time."""

        def found() -> list[float]:
            return [at for envelope, at in self._heard if _matches(envelope.event, event_type, stream_id=stream_id)]

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(lambda: bool(found())), timeout=within_seconds)
            except TimeoutError:
                raise StepFailed(f"{event_type} on {self._topic} within {within_seconds:g} s", "nothing") from None
        return found()[0]

    async def _listen(self) -> None:
        while not self._stopping:
            fetched = await self._consumer.getmany(timeout_ms=FETCH_MS)
            at = time.time()
            async with self._news:
                for messages in fetched.values():
                    self._heard += [(decode(EVENT_MODELS, one.value, one.headers), at) for one in messages]
                self._news.notify_all()


def _matches(event: Event, event_type: str, **fields: UUID) -> bool:
    values: Mapping[str, object] = event.__dict__
    return event.type == event_type and all(values.get(name) == value for name, value in fields.items())
