"""The doorbell wakes at once after a silence, and many rings become few."""

import asyncio

import pytest

from notify.deliveries.doorbell import INTERVAL_SECONDS, Doorbell


async def test_the_first_ring_wakes_at_once_and_many_become_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[float] = []
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    bell = Doorbell()
    bell.wakes(lambda: woken.append(now))
    bell.ring()
    assert len(woken) == 1
    for _ in range(100):
        bell.ring()
    now += INTERVAL_SECONDS * 0.9
    await turns_of_the_loop()
    assert len(woken) == 1
    now += INTERVAL_SECONDS * 0.2
    await turns_of_the_loop()
    assert len(woken) == 2
    bell.ring()  # within the silence that follows: a third, and nothing of the hundred is left
    await turns_of_the_loop()
    assert len(woken) == 2
    now += INTERVAL_SECONDS * 1.1
    await turns_of_the_loop()
    assert len(woken) == 3


async def turns_of_the_loop() -> None:
    """What is due by now is done."""
    for _ in range(3):
        await asyncio.sleep(0)
