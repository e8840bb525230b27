"""A loop that tries again after errors ends although a library answered its cancellation with an error."""

import asyncio
from contextlib import suppress

import pytest

from runtime.cancellation import raise_if_cancelled


async def test_a_swallowed_cancellation_still_ends_the_loop() -> None:
    waiting = asyncio.Event()
    turns = 0

    async def lossy() -> None:
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("closed meanwhile") from None

    async def loop() -> None:
        nonlocal turns
        while turns < 2:
            turns += 1
            with suppress(ConnectionError):
                await lossy()
            raise_if_cancelled()

    task = asyncio.create_task(loop())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, timeout=5)
    assert turns == 1


async def test_nobody_cancelled_is_nothing() -> None:
    raise_if_cancelled()
