"""What is said on the bus while the story goes on: read from outside, without a group that would be left behind."""

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

from console.demo.steps import StepFailed
from eventbus.bus import BusUnavailable, EventBus
from events import Envelope, Event, decode
from events.topics import EVENT_MODELS, STREAMS

READ_PAUSE_SECONDS = 0.01


class Overheard:
    """What was said on the streams topic, with the time at which it was heard."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._next_offsets = dict.fromkeys(range(STREAMS.partitions), 0)
        self._heard: list[tuple[Envelope[Event], float]] = []

    async def count(self, channel_id: UUID, event_type: str) -> int:
        """How often this was said of a channel up to now."""
        await self._listen()
        return sum(_matches(envelope.event, event_type, channel_id=channel_id) for envelope, _ in self._heard)

    async def first(self, stream_id: UUID, event_type: str, *, within_seconds: float) -> float:
        """When this was first heard of a stream, in wall-clock seconds; StepFailed when it is not heard in time."""
        deadline = time.monotonic() + within_seconds
        while True:
            await self._listen()
            for envelope, at_seconds in self._heard:
                if _matches(envelope.event, event_type, stream_id=stream_id):
                    return at_seconds
            if time.monotonic() > deadline:
                raise StepFailed(f"{event_type} on {STREAMS.name} within {within_seconds:g} s", "nothing")
            await asyncio.sleep(READ_PAUSE_SECONDS)

    async def _listen(self) -> None:
        """Read what is new."""
        try:
            async for message in self._bus.read(STREAMS.name, start=self._next_offsets):
                self._next_offsets[message.partition] = message.offset + 1
                self._heard.append((decode(EVENT_MODELS, message.value, message.headers), time.time()))
        except BusUnavailable as error:
            raise StepFailed(f"to read {STREAMS.name}", error) from error


def _matches(event: Event, event_type: str, **fields: UUID) -> bool:
    values: Mapping[str, object] = event.__dict__
    return event.type == event_type and all(values.get(name) == value for name, value in fields.items())
