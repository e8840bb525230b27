"""What the demo overhears on the bus: everything once, whatever was said before, and silence is told as such."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

import pytest

from console.demo.overheard import Overheard
from console.demo.steps import StepFailed
from eventbus.bus import Record
from eventbus.bus_memory import MemoryBus
from events import Envelope, StreamStarted, encode
from events.topics import STREAMS
from runtime.ids import uuid7


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus({STREAMS.name: STREAMS.partitions})


async def say_started(bus: MemoryBus, channel_id: UUID) -> UUID:
    """Say that a stream of this channel has started; returns the stream."""
    event = StreamStarted(
        stream_id=uuid7(), channel_id=channel_id, channel_name="ann", title="", started_at=datetime.now(UTC)
    )
    key, value, headers = encode(Envelope(uuid7(), "streaming", datetime.now(UTC), event))
    await bus.publish([Record(STREAMS.name, key, value, headers)])
    return event.stream_id


async def test_what_is_said_is_counted_once_however_often_one_listens(bus: MemoryBus) -> None:
    overheard, ann, bea = Overheard(bus), uuid7(), uuid7()
    first = await say_started(bus, ann)
    assert await overheard.first(first, "stream.started", within_seconds=10) <= time.time()
    for _ in range(3):
        await say_started(bus, bea)
        assert await overheard.count(ann, "stream.started") == 1
    assert await overheard.count(bea, "stream.started") == 3
    assert await overheard.count(bea, "stream.ended") == 0


async def test_when_it_was_heard_stays_the_same(bus: MemoryBus) -> None:
    overheard = Overheard(bus)
    stream_id = await say_started(bus, uuid7())
    heard_at = await overheard.first(stream_id, "stream.started", within_seconds=10)
    await say_started(bus, uuid7())
    assert await overheard.first(stream_id, "stream.started", within_seconds=10) == heard_at


async def test_silence_is_a_failed_step(bus: MemoryBus) -> None:
    await say_started(bus, uuid7())
    with pytest.raises(StepFailed, match=r"stream\.started on streams\.v1 within 0\.05 s"):
        await Overheard(bus).first(uuid7(), "stream.started", within_seconds=0.05)


async def test_a_bus_that_does_not_answer_is_a_failed_step() -> None:
    with pytest.raises(StepFailed, match=r"to read streams\.v1"):
        await Overheard(MemoryBus()).count(uuid7(), "stream.started")
