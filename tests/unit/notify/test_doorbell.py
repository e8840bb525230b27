"""The doorbell wakes at once after a silence, and many rings become few."""

import asyncio

from notify.deliveries import doorbell
from notify.deliveries.doorbell import Doorbell


async def test_the_first_ring_wakes_at_once_and_many_become_one_more() -> None:
    woken: list[float] = []
    again = asyncio.Event()
    loop = asyncio.get_running_loop()
    bell = Doorbell()
    bell.wakes(lambda: woken.append(loop.time()))
    bell.ring()
    assert len(woken) == 1
    for _ in range(100):
        bell.ring()
    assert len(woken) == 1
    bell.wakes(again.set)
    async with asyncio.timeout(5):
        await again.wait()
    assert len(woken) == 2
    assert woken[1] - woken[0] >= doorbell.INTERVAL_SECONDS * 0.9
    again.clear()
    bell.ring()  # within the silence that follows: a third, and nothing of the hundred is left
    async with asyncio.timeout(5):
        await again.wait()
    assert len(woken) == 3
