"""Sends what is queued for one delivery channel and lane, as a service."""

import asyncio

from notify.deliveries.delivery import Channel, Lane
from notify.deliveries.settings import DeliverySettings
from runtime.postgres import Pool


class DeliveryWorker:
    """Any number of them, in any number of processes, share the queues of their channel and lane."""

    def __init__(self, pool: Pool, channel: Channel, lane: Lane, settings: DeliverySettings) -> None:
        self.name = f"deliveries-{channel.name}-{lane}"
        self._pool = pool
        self._channel = channel
        self._lane = lane
        self._settings = settings
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for work at once: something was queued and committed in this process."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        await asyncio.Event().wait()
