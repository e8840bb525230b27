"""The doorbell wakes at once after a silence, and many rings become few."""

import asyncio

from notify.deliveries import doorbell
from notify.deliveries.doorbell import Doorbell


async def test_the_first_ring_wakes_at_once_and_many_become_one_more() -> None:
    woken: list[float] = []
    loop = asyncio.get_running_loop()
    bell = Doorbell()
    bell.wakes(lambda: woken.append(loop.time()))
    bell.ring()
    assert len(woken) == 1
    for _ in range(100):
        bell.ring()
    assert len(woken) == 1
    async with asyncio.timeout(5):
        while len(woken) < 2:
            await asyncio.sleep(doorbell.INTERVAL_SECONDS / 10)
    assert woken[1] - woken[0] >= doorbell.INTERVAL_SECONDS * 0.9
    await asyncio.sleep(doorbell.INTERVAL_SECONDS * 2)
    assert len(woken) == 2
