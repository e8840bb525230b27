"""The broker's twin without a server, for tests: a `MemoryServer` is Redis, each `MemoryBroker` a gateway's link.

Faults are methods: a server can lose everything or be away, a link can miss traffic.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from chat.brokers.broker import Allowance, Conditions, Entry, Listener, Position, Published, Reading, Retention
from chat.brokers.spool import SpooledMessage
from chat.errors import BrokerUnavailable, SentBefore, SentTooOften, SpoolFull


@dataclass
class _Room:
    epoch: str
    offset: int = 0
    entries: "deque[tuple[float, Entry]]" = field(default_factory=deque)
    sent: dict[str, tuple[float, Position]] = field(default_factory=dict)
    pace: dict[tuple[str, str], "deque[float]"] = field(default_factory=dict)
    said: dict[str, float] = field(default_factory=dict)
    spool: dict[str, SpooledMessage] = field(default_factory=dict)
    members: dict[str, tuple[float, int]] = field(default_factory=dict)


class MemoryServer:
    """The rooms, and the links that hear them. ``clock`` gives seconds and may be turned by hand."""

    def __init__(self, retention: Retention | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.retention = retention or Retention()
        self.clock = clock
        self.away = False
        self.answers = asyncio.Event()
        """Cleared, the answers to reads are on their way until it is set."""
        self.answers.set()
        self._rooms: dict[UUID, _Room] = {}
        self._epochs = count(1)
        self.spool_ids = count(1)
        self._links: list[MemoryBroker] = []

    def room(self, room: UUID) -> _Room:
        """The state of a room, made at the first touch; what is past its time is dropped."""
        state = self._rooms.get(room)
        if state is None:
            state = self._rooms[room] = _Room(epoch=f"e{next(self._epochs)}")
        old = self.clock() - self.retention.entry_seconds
        while state.entries and state.entries[0][0] <= old:
            state.entries.popleft()
        return state

    def spooled_rooms(self) -> list[UUID]:
        """Rooms with something in the spool."""
        return [room for room, state in self._rooms.items() if state.spool]

    def lose_everything(self) -> None:
        """As FLUSHALL: rooms start again with another epoch. Links stay."""
        self._rooms.clear()

    def go_away(self) -> None:
        """Every call fails and every link is disconnected until `come_back`."""
        self.away = True
        for link in self._links:
            link.drop()

    def come_back(self) -> None:
        """Calls work again, links are connected again."""
        self.away = False
        for link in self._links:
            link.restore()

    def attach(self, link: "MemoryBroker") -> None:
        """Deliver to this link from now on."""
        self._links.append(link)

    def tell(self, room: UUID, deliver: Callable[[Listener], None]) -> None:
        """Deliver to whoever listens now."""
        for link in self._links:
            listener = link.listener(room)
            if listener is not None:
                deliver(listener)


class MemoryBroker:
    """One gateway's link to a `MemoryServer`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._listeners: dict[UUID, Listener] = {}
        self._connected = True
        server.attach(self)

    @property
    def connected(self) -> bool:
        return self._connected

    def drop(self) -> None:
        """Lose the subscription: traffic passes unheard."""
        self._connected = False
        for listener in list(self._listeners.values()):
            listener.disconnected()

    def restore(self) -> None:
        """Hear traffic again."""
        self._connected = True
        for listener in list(self._listeners.values()):
            listener.connected()

    def listener(self, room: UUID) -> Listener | None:
        """Who hears this room over this link now."""
        return self._listeners.get(room) if self._connected else None

    async def publish(
        self, room: UUID, message_id: str, body: bytes, conditions: Conditions, *, spooled: bool = True
    ) -> Published:
        state, now, keep = self._reach(room), self._server.clock(), self._server.retention
        known = state.sent.get(message_id)
        if known is not None and now < known[0]:
            return Published(known[1], fresh=False)
        _check(state, conditions, now)
        if spooled and len(state.spool) >= keep.spooled_entries_max:
            raise SpoolFull("too many messages of this room wait to be kept")
        _use_up(state, conditions, now)
        state.offset += 1
        position = Position(state.offset, state.epoch)
        state.sent[message_id] = (now + keep.sent_id_seconds, position)
        state.entries.append((now, Entry(state.offset, body)))
        while len(state.entries) > keep.entries_max:
            state.entries.popleft()
        if spooled:
            spool_id = f"{next(self._server.spool_ids)}-0"
            state.spool[spool_id] = SpooledMessage(spool_id, state.offset, state.epoch, body)
        self._server.tell(room, lambda listener: listener.published(position, body))
        return Published(position, fresh=True)

    async def read(self, room: UUID, since: Position | None, *, entries_max: int) -> Reading:
        await asyncio.sleep(0)  # the way there
        reading = self._read(room, since, entries_max)
        await self._server.answers.wait()  # and back: what is published meanwhile is not in it
        return reading

    def _read(self, room: UUID, since: Position | None, entries_max: int) -> Reading:
        state = self._reach(room)
        position = Position(state.offset, state.epoch)
        entries = tuple(entry for _, entry in state.entries)
        if since is not None and since.epoch == state.epoch and since.offset <= state.offset:
            missed = tuple(entry for entry in entries if entry.offset > since.offset)
            if len(missed) == state.offset - since.offset <= entries_max:
                return Reading(position, recovered=True, entries=missed)
        return Reading(position, recovered=False, entries=entries[-entries_max:])

    async def signal(self, room: UUID, body: bytes) -> None:
        self._reach(room)
        self._server.tell(room, lambda listener: listener.signalled(body))

    async def count_members(self, gateway: str, members: Mapping[UUID, int], *, seconds: float) -> Mapping[UUID, int]:
        return {room: self._count(room, gateway, number, seconds) for room, number in members.items()}

    def _count(self, room: UUID, gateway: str, members: int, seconds: float) -> int:
        state, now = self._reach(room), self._server.clock()
        state.members[gateway] = (now + seconds, members)
        state.members = {name: said for name, said in state.members.items() if said[0] > now}
        return sum(said for _, said in state.members.values())

    def listen(self, room: UUID, listener: Listener) -> None:
        self._listeners[room] = listener
        if self._connected:
            listener.connected()

    def forget(self, room: UUID) -> None:
        self._listeners.pop(room, None)

    def _reach(self, room: UUID) -> _Room:
        if self._server.away:
            raise BrokerUnavailable("the server is away")
        return self._server.room(room)


def _check(state: _Room, conditions: Conditions, now: float) -> None:
    """Raise SentTooOften, for the allowance with the longest wait, or SentBefore."""
    waits = [(_wait(state, allowance, now), allowance.name) for allowance in conditions.allowances]
    longest = max(waits, default=(0.0, ""))
    if longest[0] > 0:
        raise SentTooOften(*longest)
    unique = conditions.unique
    if unique is not None and now < state.said.get(unique.digest, 0.0):
        raise SentBefore("the room has had this text lately")


def _wait(state: _Room, allowance: Allowance, now: float) -> float:
    times = state.pace.setdefault((allowance.name, allowance.sender), deque())
    while times and times[0] <= now - allowance.seconds:
        times.popleft()
    return 0.0 if len(times) < allowance.messages_max else times[-allowance.messages_max] + allowance.seconds - now


def _use_up(state: _Room, conditions: Conditions, now: float) -> None:
    for allowance in conditions.allowances:
        state.pace[allowance.name, allowance.sender].append(now)
    if conditions.unique is not None:
        state.said[conditions.unique.digest] = now + conditions.unique.seconds
