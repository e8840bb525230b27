"""A process that posts webhooks and does nothing else, to be killed."""

import asyncio
from datetime import timedelta

from notify.deliveries.delivery import Lane
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound
from notify.webhooks.channel import WebhookChannel
from notify.webhooks.sealing import Seal
from notify.webhooks.settings import WebhookSettings
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings


class Settings(WebhookSettings, DeliverySettings, PostgresSettings):
    """Those of the parts that post."""


async def main() -> None:
    """Post until killed."""
    settings = Settings()
    async with open_pool(settings, schema="notify") as pool:
        channel = WebhookChannel(
            pool,
            Outbound(settings),
            Seal(settings.sealing_secret() or b""),
            send_seconds_max=1.0,
            disable_after=timedelta(hours=1),
        )
        await DeliveryWorker(pool, channel, Lane.BULK, settings).run()


if __name__ == "__main__":
    asyncio.run(main())
