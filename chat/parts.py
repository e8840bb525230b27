"""What the parts of chat are built from; `__main__` makes it once for the process."""

from dataclasses import dataclass

from redis.asyncio import Redis

from chat.admission import Admission
from chat.broker import Broker
from chat.directory import Directory
from chat.rooms import Rooms
from chat.settings import ChatSettings
from chat.signals import Signals
from chat.speaking import Composer, Speaking
from chat.standing import Standings
from eventbus.bus import EventBus
from eventbus.outbox import Outbox
from runtime.health import Health
from runtime.postgres import Pool
from runtime.tokens import Verifier


@dataclass(frozen=True)
class ChatParts:
    """Adapters that several parts use."""

    settings: ChatSettings
    pool: Pool
    redis: Redis
    bus: EventBus
    outbox: Outbox
    health: Health
    broker: Broker
    signals: Signals
    directory: Directory
    rooms: Rooms
    speaking: Speaking
    composer: Composer
    standings: Standings
    verifier: Verifier
    admission: Admission
