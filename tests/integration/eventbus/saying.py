"""Events and conditions for the tests of the bus."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventbus.bus import Record
from events import StreamStarted
from runtime.ids import uuid7


def numbered(channel: int, number: int) -> StreamStarted:
    """The `number`-th event of a channel; both can be read back from what is published."""
    return StreamStarted(
        stream_id=uuid7(),
        channel_id=UUID(int=channel),
        channel_name=str(channel),
        title=f"#{number}",
        started_at=datetime.now(UTC),
    )


def number_of(record: Record) -> tuple[int, int]:
    """The channel and number of a published event."""
    assert record.key is not None
    assert record.value is not None
    found = re.search(rb'"title":"#(\d+)"', record.value)
    assert found is not None
    return UUID(record.key.decode()).int, int(found[1])


def by_channel(records: Iterable[Record]) -> dict[int, list[int]]:
    """The numbers of each channel in the order in which they were published."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for record in records:
        channel, number = number_of(record)
        numbers[channel].append(number)
    return dict(numbers)


class Recorder:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def publish(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(0)
        self.records.extend(records)


async def until(condition: Callable[[], bool], *, what: str, seconds: float = 30.0) -> None:
    """Wait for a condition; a test that waits in vain says for what."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"did not come about within {seconds:g} s: {what}")


async def eventually(condition: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 60.0) -> None:
    """The same for a condition that has to be asked for."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if await condition():
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"did not come about within {seconds:g} s: {what}")


@asynccontextmanager
async def running(*services: Coroutine[object, object, None]) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Run coroutines in the background; one that fails makes the test fail."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
