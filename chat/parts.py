"""What the parts of chat are built from; `__main__` makes it once for the process."""

from dataclasses import dataclass

from redis.asyncio import Redis

from chat.brokers.broker import Broker
from chat.rooms.directory import Directory
from chat.rooms.rooms import Rooms
from chat.rooms.signals import Signals
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.speaking.speaking import Composer, Speaking
from chat.speaking.standing import Standings
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
