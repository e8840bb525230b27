"""A process that only relays, or only consumes, for the tests that kill it: `python -m tests.faults.bus_process relay`.

Prints `ready` once it leads, or has its partitions. Reads its settings from the environment.
"""

import asyncio
import sys

from eventbus.bus_configured import open_bus
from eventbus.consume import ConsumeLoop, Subscription
from eventbus.outbox import Outbox, Transaction
from eventbus.settings import BusSettings
from events import Envelope, StreamStarted
from runtime.logs import configure_logging
from runtime.postgres import open_pool
from runtime.settings import load_settings
from tests.integration.eventbus.saying import until

SCHEMA = "streaming"
GROUP = "streaming-killed"


async def note_effect(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
    """An effect that shows when it happens twice or out of order."""
    await transaction.connection.execute(
        "INSERT INTO effects (channel, number) VALUES ($1, $2)",
        envelope.event.channel_id.int,
        int(envelope.event.title[1:]),
    )


async def serve(part: str, settings: BusSettings) -> None:
    """Run the part until killed."""
    async with open_pool(settings, schema=SCHEMA) as pool, open_bus(settings) as bus:
        outbox = Outbox(pool, source=SCHEMA)
        if part == "relay":
            print("ready", flush=True)  # noqa: T201  the test waits for it
            await bus.relay(settings.postgres_dsn, outbox, schema=SCHEMA).run()
        loop = ConsumeLoop(bus, outbox, Subscription(GROUP, {StreamStarted: note_effect}, batch_messages_max=20))
        consuming = asyncio.create_task(loop.run())
        await until(lambda: bool(loop.partitions), what="partitions")
        print("ready", flush=True)  # noqa: T201  the test waits for it
        await consuming


if __name__ == "__main__":
    configure_logging(service="bus-process", stream=sys.stderr)
    asyncio.run(serve(sys.argv[1], load_settings(BusSettings)))
