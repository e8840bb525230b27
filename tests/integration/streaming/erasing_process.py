"""A process that erases people from streaming and stops in the middle, for a test to kill it there."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from uuid import UUID

from pydantic import SecretStr

from eventbus.outbox import Outbox
from runtime.erasure import Erasures
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings
from streaming.lifecycle.publishing import Publishing
from streaming.people.erasing import ChannelErasing
from streaming.servers.media_server import MediaServers
from tests.integration.streaming.studio import SERVER, MediaServerTwin

LEASE_SECONDS = 600.0  # the test says when it has run out


async def erase(dsn: str) -> None:
    """Erase streams, say so, and go no further."""

    async def stop(_: UUID) -> AsyncGenerator[None, None]:
        sys.stderr.write("streams are gone, the channel is not\n")
        sys.stderr.flush()
        await asyncio.Event().wait()
        yield

    async with open_pool(PostgresSettings(postgres_dsn=SecretStr(dsn)), schema="streaming") as pool:
        servers = MediaServers({SERVER: MediaServerTwin()})
        publishing = Publishing(
            Outbox(pool, source="streaming"), pool, servers, close_seconds_max=1, on_change=lambda: None
        )
        erasing = ChannelErasing(pool, publishing)
        steps = [erasing.end_stream, erasing.erase_streams, stop]
        await Erasures(pool, steps, service="streaming", lease_seconds=LEASE_SECONDS).round()


if __name__ == "__main__":
    asyncio.run(erase(sys.argv[1]))
