"""What gateways tell each other about a room: that something changed, never what. Whoever hears it looks it up.

A signal is heard by whoever listens now and is kept nowhere, so it may be lost (a process dies between the commit and
the signal, a gateway is cut off). Gateways therefore also compare the versions of their open rooms every few seconds,
and look everything up after a time in which they heard nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from chat.brokers.broker import Broker
from chat.errors import BrokerUnavailable

log = structlog.get_logger(__name__)

WAITING_MAX = 10_000


class _Signal(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RoomTouched(_Signal):
    """Facts of the room changed: name, stream, rules, pinned message, poll, emotes."""

    about: Literal["room"] = "room"


class StandingTouched(_Signal):
    """What somebody may do changed: a ban, a timeout, a role, a follow."""

    about: Literal["standing"] = "standing"
    user_id: UUID


class HeldTouched(_Signal):
    """Messages wait for a moderator, or one was decided."""

    about: Literal["held"] = "held"


Signal = RoomTouched | StandingTouched | HeldTouched

_SIGNAL: TypeAdapter[Signal] = TypeAdapter(Annotated[Signal, Field(discriminator="about")])


def read_signal(body: bytes) -> Signal:
    """A signal from its bytes; raises pydantic's ValidationError, also for one that only a newer gateway knows."""
    return _SIGNAL.validate_json(body)


class Signals:
    """Sends signals after commits. A service; `touch` may be called from anywhere in the event loop and never waits."""

    name = "chat-signals"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[tuple[UUID, bytes], None] = {}
        self._wake = asyncio.Event()

    def touch(self, room: UUID, signal: Signal) -> None:
        """Send soon; the same signal of the same room that still waits is sent once."""
        if len(self._waiting) >= WAITING_MAX:
            log.warning("chat_signal_dropped", room=str(room), about=signal.about)
            return
        self._waiting[room, signal.model_dump_json().encode()] = None
        self._wake.set()

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting: Mapping[tuple[UUID, bytes], None]
            waiting, self._waiting = self._waiting, {}
            for room, body in waiting:
                await self._send(room, body)

    async def _send(self, room: UUID, body: bytes) -> None:
        try:
            await self._broker.signal(room, body)
        except BrokerUnavailable as error:
            # Gateways that cannot hear look everything up when they hear again.
            log.warning("chat_signal_not_sent", room=str(room), reason=str(error))
