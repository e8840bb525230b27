"""Wakes the workers of this process when something was queued in it, without asking the database for every page."""

import asyncio
from collections.abc import Callable

INTERVAL_SECONDS = 0.1
"""A fan-out rings for each of its pages, and workers go on by themselves while there is work."""


class Doorbell:
    """Rung after the commits that queue deliveries; rings that come close together become one."""

    def __init__(self) -> None:
        self._wakes: list[Callable[[], None]] = []
        self._quiet_until = float("-inf")
        self._later: asyncio.TimerHandle | None = None

    def wakes(self, wake: Callable[[], None]) -> None:
        """Have a worker woken."""
        self._wakes.append(wake)

    def ring(self) -> None:
        """Something was queued and committed: at once after a silence, else soon."""
        loop = asyncio.get_running_loop()
        if self._later is not None:
            return
        if loop.time() >= self._quiet_until:
            self._ring()
        else:
            self._later = loop.call_at(self._quiet_until, self._ring)

    def _ring(self) -> None:
        self._later = None
        self._quiet_until = asyncio.get_running_loop().time() + INTERVAL_SECONDS
        for wake in self._wakes:
            wake()
