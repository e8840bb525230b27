"""One room on one gateway: follows the broker without a hole and tells its members in shared frames.

The room keeps its own position. Live entries that continue it go to the next flush. Anything else (an offset too far,
another epoch, a subscription that was lost and is back) stops the room until it has read what it may have missed; live
entries wait meanwhile. What cannot be recovered is told to every member with a gap.

Batching adapts: an entry after a quiet time goes out at once, then there is one flush per `tick_seconds` (`Pacing`); a
flush is one piece of bytes for each audience, written to all. Joins and leaves take effect between flushes. A small
room that is quiet is flushed right where its entry is heard, without a turn of its task: with many rooms that is most
of what a message costs beside its sends.

Members sit in two lanes: moderators are told at once, the others when the room's delay is over. Without a delay both
lanes are always at the same position and get the same bytes.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError

from chat import metrics
from chat.brokers.broker import Broker, Entry, Position
from chat.errors import BrokerUnavailable
from chat.rooms.audience import MEMBERS_WITHOUT_TURN_MAX, Flight, GapNotice, Notice, Seat
from chat.rooms.entries import Redactions, Said, is_deletion, placed, read_body, redacted
from chat.rooms.facts import RoomFacts
from chat.rooms.lane import Lane
from chat.rooms.pacing import Pacing
from chat.rooms.signals import HeldTouched, RoomTouched, StandingTouched, read_signal
from chat.sockets import frames
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)

REACH_SECONDS_MAX = 1.0
REACH_POLL_SECONDS = 0.02
SOON_SECONDS = 1.0


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
    """Where a new member starts: after this position, having got these entries (with their offsets put in)."""

    position: Position
    recovered: bool
    entries: tuple[Entry, ...]

    @property
    def history(self) -> tuple[bytes, ...]:
        """The entries as the chat socket's frames have them."""
        return tuple(placed(entry.offset, entry.body) for entry in self.entries)


class Room:
    """Follows one room and holds its members. Implements the broker's Listener; `run` does the work."""

    def __init__(
        self,
        room_id: UUID,
        broker: Broker,
        limits: RoomLimits,
        clock: Callable[[], float] = time.monotonic,
        touched: Callable[["Room"], None] = lambda _: None,
    ) -> None:
        self.room_id = room_id
        self._broker = broker
        self._limits = limits
        self._clock = clock
        self._touched = touched
        self._moderators = Lane(clock, waiting_max=limits.waiting_messages_max)
        self._others = Lane(clock, waiting_max=limits.waiting_messages_max)
        self._lanes = (self._moderators, self._others)
        self._seats_of: dict[UUID, set[Seat]] = {}
        self._pacing = Pacing(limits.tick_seconds, clock)
        self._resting = False  # the task waits for something to do: nothing is being read, nothing is on its way
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._head: Position | None = None  # of the newest entry taken from the broker
        self._recent: deque[tuple[float, Entry]] = deque(maxlen=limits.recovery_messages_max)  # up to the moderators'
        self._reads_asked = 0
        self._reads_done = 0
        self._held: list[tuple[Position, bytes]] = []  # live, while a read is to be done
        self._connected = False
        self._told_available = True
        self._facts = RoomFacts(room_id, "", None)
        self.empty_since = clock()
        self.look_up_again = False
        """Signals may have been missed: whoever keeps the room should look its facts up."""
        self.resyncs = 0
        """How often signals may have been missed: what was looked up before the last time may be out of date."""
        self.standing_changes = 0
        """How often somebody's standing changed: what was being looked up just then may be of before."""
        self.chatters = 0
        self.ended = False
        """Nobody finds the room any more: its members have to leave."""

    # ---------------------------------------------------------------------------------------- members

    @property
    def members_count(self) -> int:
        """Members on this gateway."""
        return len(self._moderators) + len(self._others)

    @property
    def people(self) -> Mapping[UUID, set[Seat]]:
        """Those of the members on this gateway who are logged in, with their seats."""
        return self._seats_of

    @property
    def facts(self) -> RoomFacts:
        """What is known of the room besides its entries."""
        return self._facts

    @property
    def available(self) -> bool:
        """Whether messages flow: the broker is heard and nothing is left to be read."""
        return self._connected and self._reads_done == self._reads_asked

    async def ready(self) -> None:
        """Wait until the room knows its position. Once it does, members can join even while the broker is away."""
        await self._synced.wait()

    async def start_after(self, since: Position | None, *, moderates: bool = False) -> Start:
        """Find where a new member starts; call `join` with its seat before the next await."""
        lane = self._lane(moderates=moderates)
        if since is not None:
            await self._reach(lane, since)
        recent = self._recent_after(lane, since)
        if since is None or recent is not None:
            return self._start(lane, recent)
        try:
            reading = await self._broker.read(self.room_id, since, entries_max=self._limits.recovery_messages_max)
        except BrokerUnavailable:
            return self._start(lane, None)
        if not reading.recovered:
            return self._start(lane, None)
        # The lane may be before or behind that reading: cut it at, or continue it to, what the members have.
        told = _known(lane)
        rest = self._recent_after(lane, Position(min(reading.position.offset, told.offset), reading.position.epoch))
        if rest is None:
            return self._start(lane, None)
        read = [entry for entry in reading.entries if entry.offset <= told.offset]
        return Start(told, recovered=True, entries=self._redacted([*read, *rest]))

    def join(self, seat: Seat) -> None:
        """Send the member every flush from now on."""
        self._lane(moderates=seat.moderates).add(seat)
        if seat.user_id is not None:
            self._seats_of.setdefault(seat.user_id, set()).add(seat)
        if self.ended:
            seat.touched()

    def leave(self, seat: Seat) -> None:
        """Send it nothing more; nothing happens if it had left."""
        if not (self._moderators.remove(seat) or self._others.remove(seat)):
            return
        if seat.user_id is not None:
            seats = self._seats_of[seat.user_id]
            seats.discard(seat)
            if not seats:
                del self._seats_of[seat.user_id]
        if not self.members_count:
            self.empty_since = self._clock()

    def end(self) -> None:
        """The room is no more: have everybody leave who is here, or was on their way."""
        self.ended = True
        for lane in self._lanes:
            for seat in lane.seats():
                seat.touched()

    def promote(self, seat: Seat, *, moderates: bool) -> bool:
        """Have a member see what moderators see, or no more; False: not possible without a hole or a double, so it must
        come back with its position.
        """
        if seat.moderates == moderates:
            return True
        if self._moderators.position != self._others.position:
            return False
        self._lane(moderates=seat.moderates).remove(seat)
        seat.moderates = moderates
        self._lane(moderates=moderates).add(seat)
        return True

    def notify(self, notice: Notice) -> None:
        """Tell all members something that is not an entry, at the next flush."""
        for lane in self._lanes:
            lane.notify(notice)
        self._wake.set()

    def notify_soon(self, notice: Notice) -> None:
        """Tell all members within a second, with what is said meanwhile if anything is: in a frame less for each."""
        for lane in self._lanes:
            lane.notify(notice)
        asyncio.get_running_loop().call_later(SOON_SECONDS, self._wake.set)

    def notify_moderators(self, notice: Notice) -> None:
        """Tell those who moderate, at the next flush."""
        self._moderators.notify(notice)
        self._wake.set()

    def find_said(self, message_id: UUID) -> Said | None:
        """A message of the last few hundred, if it is not deleted."""
        mark = str(message_id).encode()
        for _, entry in reversed(self._recent):
            if mark in entry.body and not is_deletion(entry.body):
                body = read_body(entry.body)
                if isinstance(body, Said) and body.message_id == message_id:
                    return body
        return None

    def _lane(self, *, moderates: bool) -> Lane:
        return self._moderators if moderates else self._others

    async def _reach(self, lane: Lane, since: Position) -> None:
        """Wait a little for a room that is behind its new member, who may come from a faster gateway."""
        deadline = self._clock() + REACH_SECONDS_MAX
        while self._clock() < deadline:
            told = _known(lane)
            if told.epoch != since.epoch or told.offset >= since.offset:
                return
            await asyncio.sleep(REACH_POLL_SECONDS)

    def _start(self, lane: Lane, recovered: "list[Entry] | None") -> Start:
        told = _known(lane)
        if recovered is not None:
            return Start(told, recovered=True, entries=tuple(recovered))
        oldest = self._clock() - self._limits.recovery_seconds_max
        newest = [entry for at, entry in self._recent if at > oldest and entry.offset <= told.offset]
        return Start(told, recovered=False, entries=tuple(newest[-self._limits.history_messages_max :]))

    def _recent_after(self, lane: Lane, since: Position | None) -> "list[Entry] | None":
        """What the lane's members got after a position, or None if that is not all here."""
        told = _known(lane)
        if since is None or since.epoch != told.epoch or since.offset > told.offset:
            return None
        missed = [entry for _, entry in self._recent if since.offset < entry.offset <= told.offset]
        return missed if len(missed) == told.offset - since.offset else None

    def _redacted(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Entries as they are to be shown now: also what was deleted after the newest of them is gone."""
        newer = [entry for _, entry in self._recent if is_deletion(entry.body)]
        redactions = Redactions.of([*entries, *newer])
        return tuple(redactions.apply(entry) for entry in entries) if redactions else tuple(entries)

    # ---------------------------------------------------------------------------------------- facts

    def learn(self, facts: RoomFacts) -> None:
        """Take in what the tables say now, and tell the members what is different."""
        before, self._facts = self._facts, facts
        self._others.delay_seconds = float(facts.rules.delay_seconds)
        if facts.rules.delay_seconds < before.rules.delay_seconds:
            self._others.release()
            self._wake.set()
        if facts.live_stream_id != before.live_stream_id:
            self.notify(frames.RoomChanged(live_stream_id=facts.live_stream_id))
        if facts.rules != before.rules:
            self.notify(frames.RulesChanged(rules=facts.rules))
        if facts.pinned != before.pinned:
            self.notify(frames.PinChanged(message=facts.pinned))
        if facts.poll != before.poll:
            self.notify(frames.PollChanged(poll=facts.poll))

    # ---------------------------------------------------------------------------------------- from the broker

    def published(self, position: Position, body: bytes) -> None:
        """Take a live entry (Listener)."""
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
        self._head = position
        self._take(Entry(position.offset, body))
        if self._resting and self.members_count <= MEMBERS_WITHOUT_TURN_MAX and not self._pacing.wait_seconds():
            self._flush_at_once()
        else:
            self._wake.set()

    def signalled(self, body: bytes) -> None:
        """Look at what changed (Listener). A newer gateway's signal may be unknown here."""
        try:
            signal = read_signal(body)
        except ValidationError:
            log.warning("chat_signal_unknown", room=str(self.room_id))
            return
        if isinstance(signal, RoomTouched):
            self.look_up_again = True
            self._touched(self)
        elif isinstance(signal, StandingTouched):
            self.standing_changes += 1
            for seat in list(self._seats_of.get(signal.user_id, ())):
                seat.touched()
        elif isinstance(signal, HeldTouched):
            self.notify_moderators(frames.HeldChanged())

    def connected(self) -> None:
        """Hear again: read what passed meanwhile (Listener)."""
        self._connected = True
        self._held.clear()  # the read will have them
        self._ask_read()

    def disconnected(self) -> None:
        """Hear nothing (Listener)."""
        self._connected = False
        self._wake.set()

    def _take(self, entry: Entry) -> None:
        if is_deletion(entry.body):
            redactions = Redactions.of([entry])
            for lane in self._lanes:
                lane.redact(redactions)
            self._recent = deque(((at, redactions.apply(told)) for at, told in self._recent), self._recent.maxlen)
            # Whose messages are gone has mostly been silenced. A signal could be lost; the entry cannot.
            self.standing_changes += len(redactions.cleared_users)
            for user in redactions.cleared_users:
                for seat in list(self._seats_of.get(UUID(user), ())):
                    seat.touched()
        for lane in self._lanes:
            lane.wait(entry)

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
        backoff = Backoff(first_seconds=0.05, ceiling_seconds=2.0)
        while True:
            await self._something_due()
            wait_seconds = self._pacing.wait_seconds()
            if wait_seconds and not any(lane.has_notices for lane in self._lanes):
                await asyncio.sleep(wait_seconds)
            self._wake.clear()
            now = self._clock()
            if any(lane.due_at is not None and lane.due_at <= now for lane in self._lanes):
                self._pacing.flush()  # notices have no tick, and would leave every later entry waiting for theirs
            await self._flush()
            answered = True
            if self._connected and not self.available:
                answered = await self._catch_up()
                self._tell_status()
                await self._flush()
            self._tell_status()
            if answered:
                backoff.reset()
            else:
                await backoff.wait()
                self._wake.set()

    async def _something_due(self) -> None:
        self._resting = True
        try:
            await self._woken_or_due()
        finally:
            self._resting = False

    async def _woken_or_due(self) -> None:
        due_at = self._others.due_at
        if due_at is None:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, due_at - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _catch_up(self) -> bool:
        """Read what may have been missed and go on from there; false if the broker did not answer.

        Everything taken before has been flushed or waits for its time, and everything heard meanwhile is held. If the
        subscription was lost again meanwhile, another read is asked for by then, and the room stays stopped until that
        is done too.
        """
        asked = self._reads_asked
        try:
            reading = await self._broker.read(self.room_id, self._head, entries_max=self._limits.recovery_messages_max)
        except BrokerUnavailable as error:
            log.warning("chat_room_not_read", room=str(self.room_id), reason=str(error))
            return False
        metrics.resyncs.inc()
        if self._head is not None and reading.recovered:
            self._head = reading.position
            for entry in reading.entries:
                self._take(entry)
            for lane in self._lanes:
                lane.reach(reading.position)
        else:
            self._start_anew(reading.position, reading.entries)
        self._reads_done = asked
        held, self._held = self._held, []
        for position, body in held:
            self.published(position, body)
        self.resyncs += 1
        self.look_up_again = True
        self._touched(self)
        self._synced.set()
        return True

    def _start_anew(self, position: Position, entries: Sequence[Entry]) -> None:
        """Take the newest entries as history; members who were here may have missed some, and are told so."""
        before, self._head = self._head, position
        now = self._clock()
        self._recent.clear()
        self._recent.extend((now, entry) for entry in redacted(entries))
        gap = None
        if before is not None:
            metrics.gaps.inc()
            log.warning("chat_gap", room=str(self.room_id), before=before.offset, after=position.offset)
            newest = [entry for _, entry in self._recent][-self._limits.history_messages_max :]
            gap = GapNotice(position, tuple(newest))
        for lane in self._lanes:
            lane.start_anew(position, gap)

    def _tell_status(self) -> None:
        if self.available != self._told_available:
            self._told_available = self.available
            self.notify(frames.Status(chat="available" if self.available else "unavailable"))

    async def _flush(self) -> None:
        """Give all members what is due. Joins meanwhile see it as already told, so nothing may await before `land`."""
        for flight in self._take_off():
            await flight.land()

    def _flush_at_once(self) -> None:
        """The same for few members, whom no turn of the event loop keeps apart."""
        self._pacing.flush()
        for flight in self._take_off():
            flight.land_at_once()
        if self._others.due_at is not None:
            self._wake.set()  # they are told later, and the task must know when

    def _take_off(self) -> list[Flight]:
        """What is due now; from here on it counts as told."""
        epoch = None if self._head is None else self._head.epoch
        blobs: dict[object, bytes] = {}
        told, flights = self._moderators.take_due(epoch, blobs)
        now = self._clock()
        self._recent.extend((now, entry) for entry in told)
        others_told, more = self._others.take_due(epoch, blobs)
        metrics.deliveries.inc(len(told) * len(self._moderators) + len(others_told) * len(self._others))
        if flights or more:
            metrics.flushes.inc()
        return [*flights, *more]


def _known(lane: Lane) -> Position:
    if lane.position is None:
        raise RuntimeError("the room is not ready")
    return lane.position
