"""A process that only sends deliveries, for the test that kills it: `python -m tests.faults.delivery_process SINK_URL`.

Each delivery is one POST to ``SINK_URL/<destination id>`` whose body is the message id. Prints `ready` when it begins.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_network

from notify.deliveries.delivery import ChannelName, Delivered, Delivery, Failed, Lane, Outcome, RetrySchedule, Sending
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound, OutboundFailed
from runtime.logs import configure_logging
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings, load_settings

LEASE_SECONDS = 7.0
"""As short as may be: what a killed worker held is waited for so long."""


class SinkChannel:
    """Posts to the sink."""

    name = ChannelName.WEBPUSH
    schedule = RetrySchedule([timedelta(seconds=1)] * 10)

    def __init__(self, url: str, outbound: Outbound) -> None:
        self.url = url
        self.outbound = outbound

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """All of it."""
        return {one.delivery_id: _Post(self, one) for one in batch}

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Nothing is gone."""

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Nobody listens."""


class _Post:
    def __init__(self, channel: SinkChannel, delivery: Delivery) -> None:
        self._channel = channel
        self._delivery = delivery

    async def send(self) -> Outcome:
        try:
            await self._channel.outbound.post(
                f"{self._channel.url}/{self._delivery.destination_id}",
                body=str(self._delivery.message_id).encode(),
                headers={},
                seconds_max=0.8,
            )
        except OutboundFailed as failed:
            return Failed(failed.reason)
        return Delivered()


async def serve(url: str, postgres: PostgresSettings) -> None:
    """Send until killed."""
    settings = DeliverySettings(
        notify_delivery_lease_seconds=LEASE_SECONDS,
        notify_delivery_send_seconds_max=1.0,
        notify_delivery_batch_max=100,
        notify_outbound_allow=[ip_network("127.0.0.0/8")],
    )
    async with open_pool(postgres, schema="notify") as pool:
        worker = DeliveryWorker(pool, SinkChannel(url, Outbound(settings)), Lane.BULK, settings)
        print("ready", flush=True)  # noqa: T201  the test waits for it
        await worker.run()


if __name__ == "__main__":
    configure_logging(service="delivery-process", stream=sys.stderr)
    asyncio.run(serve(sys.argv[1], load_settings(PostgresSettings)))
