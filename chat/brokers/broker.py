"""The port to what carries messages between gateways and keeps the newest of each room for minutes.

A message's place is (offset, epoch). Offsets of one epoch count up by one without a hole. The epoch changes whenever
the broker cannot vouch for the offsets it gave out before, and a position of another epoch is continued only where
the broker can prove that nothing of it was lost. Backends: `broker_redis` and, for tests, `broker_memory`; both pass
tests/conformance/test_chat_broker.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a room: everything up to and including ``offset`` has been seen."""

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored message: its offset and the bytes of `frames.message_body`."""

    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to a read: where the room is, and messages that end there, in order.

    With ``recovered``, ``entries`` is exactly what lies between the asked position and ``position``. Without, it is the
    newest there are.
    """

    position: Position
    recovered: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """Where a message is. ``fresh`` is false when it had been published before under the same id."""

    position: Position
    fresh: bool


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often a sender may publish in a room: at most ``messages_max`` in any ``seconds``, over all gateways.

    ``name`` (``pace``, ``slow-mode``) keeps allowances of one sender apart, and says in a refusal which it was.
    """

    name: str
    sender: str
    messages_max: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Unique:
    """Refuse what the room has said already: the same ``digest`` in the last ``seconds``, by whomever."""

    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold for a publish, over all gateways. All is checked before anything is written or used up."""

    allowances: tuple[Allowance, ...] = ()
    unique: Unique | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a room the broker keeps, and for how long after what."""

    entries_max: int = 500
    entry_seconds: float = 300.0
    position_seconds: float = 86_400.0
    """Offsets outlive messages, so that a quiet room continues its count; only the position is kept, no content."""
    sent_id_seconds: float = 300.0
    spooled_entries_max: int = 50_000
    """Of a room, waiting to be kept for good (`chat.brokers.spool`); with so many the room takes nothing more."""


class Listener(Protocol):
    """What a gateway does with a room's traffic. Called in the event loop; must not block and must not raise."""

    def published(self, position: Position, body: bytes) -> None:
        """A message, in the order of the broker; after a disconnection some may have been missed."""
        ...

    def signalled(self, body: bytes) -> None:
        """A signal: heard by whoever listens now, never kept."""
        ...

    def connected(self) -> None:
        """Everything published from now on is heard. Read to learn what came before."""
        ...

    def disconnected(self) -> None:
        """Nothing is heard until `connected`."""
        ...


class Broker(Protocol):
    """Publish, read and listen. Every method that waits raises BrokerUnavailable when the broker does not answer."""

    @property
    def connected(self) -> bool:
        """Whether traffic is heard now."""
        ...

    async def publish(
        self, room: UUID, message_id: str, body: bytes, conditions: Conditions, *, spooled: bool = True
    ) -> Published:
        """Append and tell every listener, once per ``message_id``: a repeat costs nothing and is never refused.

        With ``spooled`` the message also waits in the room's `chat.brokers.spool`, by the same step. Raises
        SentTooOften, SentBefore, or SpoolFull when too many wait there; nothing has happened then.
        """
        ...

    async def read(self, room: UUID, since: Position | None, *, entries_max: int) -> Reading:
        """What came after ``since``, if that is provable and not more than ``entries_max``, else the newest entries."""
        ...

    async def signal(self, room: UUID, body: bytes) -> None:
        """Tell every listener something that is not history."""
        ...

    async def count_members(self, gateway: str, members: Mapping[UUID, int], *, seconds: float) -> Mapping[UUID, int]:
        """Say how many members this gateway has in each of some rooms (believed for ``seconds``).

        The answer is each room's sum over all gateways.
        """
        ...

    def listen(self, room: UUID, listener: Listener) -> None:
        """Start hearing a room; `Listener.connected` says when. One listener a room and broker object."""
        ...

    def forget(self, room: UUID) -> None:
        """Stop hearing a room; nothing happens if it was not heard."""
        ...
