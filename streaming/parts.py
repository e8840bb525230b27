"""What the parts of streaming are built from; `__main__` makes it once for the process."""

from dataclasses import dataclass

from redis.asyncio import Redis

from eventbus.bus import EventBus
from eventbus.outbox import Outbox
from runtime.health import Health
from runtime.postgres import Pool
from runtime.read_pool import ReadPool
from runtime.tokens import Verifier
from streaming.lifecycle.publishing import Publishing
from streaming.reads.livelist import LiveList
from streaming.servers.media_server import MediaServers
from streaming.settings import StreamingSettings
from streaming.streams.lists import StreamsQuery
from streaming.streams.views import LiveStreamsPage
from streaming.viewers.audience import Audience
from streaming.viewers.counts import ViewerCounts


@dataclass(frozen=True)
class StreamingParts:
    """Adapters that several parts use."""

    settings: StreamingSettings
    pool: Pool
    reads: ReadPool
    """For single statements that only read: perhaps from a replica, and then a moment behind."""
    redis: Redis
    bus: EventBus
    outbox: Outbox
    health: Health
    verifier: Verifier
    media_servers: MediaServers
    publishing: Publishing
    live_list: LiveList[StreamsQuery, LiveStreamsPage]
    viewer_counts: ViewerCounts
    audience: Audience
