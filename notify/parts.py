"""What the parts of notify are built from; `__main__` makes it once for the process."""

from dataclasses import dataclass

from redis.asyncio import Redis

from eventbus.bus import EventBus
from eventbus.outbox import Outbox
from notify.announcer import Announcer
from notify.deliveries.doorbell import Doorbell
from notify.live_registry import LiveRegistry
from notify.settings import NotifySettings
from runtime.health import Health
from runtime.postgres import Pool
from runtime.read_pool import ReadPool
from runtime.tokens import Verifier


@dataclass(frozen=True)
class NotifyParts:
    """Adapters that several parts use."""

    settings: NotifySettings
    pool: Pool
    reads: ReadPool
    """For single statements that only read: perhaps from a replica, and then a moment behind."""
    redis: Redis
    bus: EventBus
    outbox: Outbox
    health: Health
    announcer: Announcer
    registry: LiveRegistry
    doorbell: Doorbell
    verifier: Verifier
