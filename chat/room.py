"""One room on one gateway: follows the broker without a hole and tells its members in shared frames.

The room keeps its own position. Live messages that continue it go to the next flush. Anything else (an offset too far,
another epoch, a subscription that was lost and is back) stops the room until it has read what it may have missed; live
messages wait meanwhile. What cannot be recovered is told to every member with a gap frame.

Batching adapts: the first message after a quiet time goes out at once, then at most one flush per `tick_seconds`; a
flush is one piece of bytes, written to all. Joins and leaves take effect between flushes.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog
from pydantic import ValidationError

from chat import frames, metrics
from chat.broker import Broker, Entry, Position
from chat.errors import BrokerUnavailable
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)

MEMBERS_PER_SHARD = 1_000
"""Between shards the event loop gets its turn, so that a big room delays others by milliseconds only."""

REACH_SECONDS_MAX = 1.0
REACH_POLL_SECONDS = 0.02


class Receiver(Protocol):
    """Where a room's frames go; takes whole WebSocket frames and never blocks."""

    def write(self, frames: bytes) -> None:
        """Queue the bytes."""
        ...


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """The bounds of one room."""

    tick_seconds: float = 0.1
    history_messages_max: int = 50
    recovery_messages_max: int = 300
    recovery_seconds_max: float = 300.0
    waiting_messages_max: int = 5_000
    """Live messages held while the room reads what it missed, or not yet flushed; beyond, the room reads again."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a new member starts: after this position, having got these messages."""

    position: Position
    recovered: bool
    history: tuple[bytes, ...]


class Room:
    """Follows one room and holds its members. Implements the broker's Listener; `run` does the work."""

    def __init__(
        self, room_id: UUID, broker: Broker, limits: RoomLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.room_id = room_id
        self._broker = broker
        self._limits = limits
        self._clock = clock
        self._members: dict[Receiver, None] = {}
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._head: Position | None = None  # of the newest message taken from the broker
        self._flushed: Position | None = None  # of the newest message the members have
        self._pending: list[Entry] = []  # between the two
        self._recent: deque[tuple[float, int, bytes]] = deque(maxlen=limits.recovery_messages_max)  # up to _flushed
        self._notices: list[bytes] = []  # frames that are not messages, ahead of the pending ones
        self._reads_asked = 0
        self._reads_done = 0
        self._held: list[tuple[Position, bytes]] = []  # live, while a read is to be done
        self._connected = False
        self._told_available = True
        self.empty_since = clock()
        self.channel_name = ""
        self.live_stream_id: UUID | None = None
        self.look_up_again = False
        """Signals may have been missed: whoever keeps the room should look its facts up."""
        self.chatters = 0

    # ---------------------------------------------------------------------------------------- members

    @property
    def members_count(self) -> int:
        """Members on this gateway."""
        return len(self._members)

    @property
    def available(self) -> bool:
        """Whether messages flow: the broker is heard and nothing is left to be read."""
        return self._connected and self._reads_done == self._reads_asked

    async def ready(self) -> None:
        """Wait until the room knows its position. Once it does, members can join even while the broker is away."""
        await self._synced.wait()

    async def start_after(self, since: Position | None) -> Start:
        """Find where a new member starts; call `join` with the same member before the next await."""
        if since is not None:
            await self._reach(since)
        recent = self._recent_after(since)
        if since is None or recent is not None:
            return self._start(recent)
        try:
            reading = await self._broker.read(self.room_id, since, entries_max=self._limits.recovery_messages_max)
        except BrokerUnavailable:
            return self._start(None)
        if not reading.recovered:
            return self._start(None)
        # The room may be before or behind that reading: cut it at, or continue it to, what the members have.
        flushed = self._position()
        rest = self._recent_after(Position(min(reading.position.offset, flushed.offset), reading.position.epoch))
        if rest is None:
            return self._start(None)
        read = [frames.placed(entry.offset, entry.body) for entry in reading.entries if entry.offset <= flushed.offset]
        return Start(flushed, recovered=True, history=(*read, *rest))

    def join(self, member: Receiver) -> None:
        """Send the member every flush from now on."""
        self._members[member] = None

    def leave(self, member: Receiver) -> None:
        """Send it nothing more; nothing happens if it had left."""
        if self._members.pop(member, self) is None and not self._members:
            self.empty_since = self._clock()

    def notify(self, frame: bytes) -> None:
        """Tell all members something that is not a message, at the next flush."""
        self._notices.append(frame)
        self._wake.set()

    async def _reach(self, since: Position) -> None:
        """Wait a little for a room that is behind its new member, who may come from a faster gateway."""
        deadline = self._clock() + REACH_SECONDS_MAX
        while self._clock() < deadline:
            flushed = self._position()
            if flushed.epoch != since.epoch or flushed.offset >= since.offset:
                return
            await asyncio.sleep(REACH_POLL_SECONDS)

    def _start(self, recovered: "list[bytes] | None") -> Start:
        if recovered is not None:
            return Start(self._position(), recovered=True, history=tuple(recovered))
        oldest = self._clock() - self._limits.recovery_seconds_max
        newest = [message for at, _, message in self._recent if at > oldest]
        return Start(self._position(), recovered=False, history=tuple(newest[-self._limits.history_messages_max :]))

    def _position(self) -> Position:
        if self._flushed is None:
            raise RuntimeError("the room is not ready")
        return self._flushed

    def _recent_after(self, since: Position | None) -> "list[bytes] | None":
        """What the members got after a position, or None if that is not all here."""
        flushed = self._position()
        if since is None or since.epoch != flushed.epoch or since.offset > flushed.offset:
            return None
        missed = [message for _, offset, message in self._recent if offset > since.offset]
        return missed if len(missed) == flushed.offset - since.offset else None

    # ---------------------------------------------------------------------------------------- from the broker

    def published(self, position: Position, body: bytes) -> None:
        """Take a live message (Listener)."""
        if not self.available:
            self._hold(position, body)
            return
        head = self._head
        if head is not None and position.epoch == head.epoch and position.offset <= head.offset:
            return
        if head is None or position != Position(head.offset + 1, head.epoch):
            self._ask_read()
            self._hold(position, body)
            return
        self._pending.append(Entry(position.offset, body))
        self._head = position
        self._wake.set()

    def signalled(self, body: bytes) -> None:
        """Pass a signal on (Listener): it is the JSON of a frame. A newer gateway's signal may be unknown here."""
        try:
            changed = frames.RoomChanged.model_validate_json(body)
        except ValidationError:
            log.warning("chat_signal_unknown", room=str(self.room_id))
            return
        if changed.live_stream_id != self.live_stream_id:
            self.live_stream_id = changed.live_stream_id
            self.notify(frames.to_bytes(changed))

    def connected(self) -> None:
        """Hear again: read what passed meanwhile (Listener)."""
        self._connected = True
        self._held.clear()  # the read will have them
        self._ask_read()

    def disconnected(self) -> None:
        """Hear nothing (Listener)."""
        self._connected = False
        self._wake.set()

    def _ask_read(self) -> None:
        self._reads_asked += 1
        self._wake.set()

    def _hold(self, position: Position, body: bytes) -> None:
        if len(self._held) >= self._limits.waiting_messages_max:
            self._held.clear()
            self._ask_read()
            return
        self._held.append((position, body))

    # ---------------------------------------------------------------------------------------- the work

    async def run(self) -> None:
        """Flush, and read what may be missing, until cancelled."""
        flush_at = 0.0
        backoff = Backoff(first_seconds=0.05, ceiling_seconds=2.0)
        while True:
            await self._wake.wait()
            if not self._notices:
                await asyncio.sleep(max(0.0, flush_at - self._clock()))
            self._wake.clear()
            flush_at = self._clock() + self._limits.tick_seconds
            await self._flush()
            if self._connected and not self.available:
                answered = await self._catch_up()
            else:
                answered = True
            self._tell_status()
            await self._flush()
            if answered:
                backoff.reset()
            else:
                await backoff.wait()
                self._wake.set()

    async def _catch_up(self) -> bool:
        """Read what may have been missed and go on from there; false if the broker did not answer.

        Everything taken before has been flushed, and everything heard meanwhile is held. If the subscription was lost
        again meanwhile, another read is asked for by then, and the room stays stopped until that is done too.
        """
        asked = self._reads_asked
        try:
            reading = await self._broker.read(self.room_id, self._head, entries_max=self._limits.recovery_messages_max)
        except BrokerUnavailable as error:
            log.warning("chat_room_not_read", room=str(self.room_id), reason=str(error))
            return False
        metrics.resyncs.inc()
        if self._head is not None and reading.recovered:
            self._pending.extend(reading.entries)
        else:
            self._start_anew(reading.position, reading.entries)
        self._head = reading.position
        if not self._pending:
            self._flushed = reading.position
        self._reads_done = asked
        held, self._held = self._held, []
        for position, body in held:
            self.published(position, body)
        self.look_up_again = True
        self._synced.set()
        return True

    def _start_anew(self, position: Position, entries: Iterable[Entry]) -> None:
        """Take the newest entries as history; members who were here may have missed some, and are told so."""
        self._pending.clear()
        self._recent.clear()
        self._recent.extend(self._recently(entries))
        self._flushed = position
        if self._head is None:
            return
        metrics.gaps.inc()
        log.warning("chat_gap", room=str(self.room_id), before=self._head.offset, after=position.offset)
        newest = [message for _, _, message in self._recent][-self._limits.history_messages_max :]
        self._notices.append(frames.gap_frame(position.offset, position.epoch, newest))

    def _recently(self, entries: Iterable[Entry]) -> Iterable[tuple[float, int, bytes]]:
        now = self._clock()
        return ((now, entry.offset, frames.placed(entry.offset, entry.body)) for entry in entries)

    def _tell_status(self) -> None:
        if self.available != self._told_available:
            self._told_available = self.available
            status = frames.Status(chat="available" if self.available else "unavailable")
            self._notices.append(frames.to_bytes(status))

    async def _flush(self) -> None:
        """Give all members what has gathered, as one piece of bytes. Joins meanwhile see it as already told."""
        if not self._pending and not self._notices:
            return
        entries, self._pending = self._pending, []
        notices, self._notices = self._notices, []
        blob = b"".join(notices)
        if entries and self._head is not None:
            fresh = list(self._recently(entries))
            self._recent.extend(fresh)
            self._flushed = self._head
            blob += frames.messages_frame(self._head.epoch, [message for _, _, message in fresh])
        members = list(self._members)
        for start in range(0, len(members), MEMBERS_PER_SHARD):
            for member in members[start : start + MEMBERS_PER_SHARD]:
                member.write(blob)
            await asyncio.sleep(0)
        metrics.flushes.inc()
        metrics.deliveries.inc(len(entries) * len(members))
