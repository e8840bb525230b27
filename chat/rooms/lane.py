"""A lane of a room: members who are told at the same time. Moderators are told at once, the others after the delay."""

from collections import deque
from collections.abc import Callable, Sequence

from chat.brokers.broker import Entry, Position
from chat.rooms.audience import Audience, Encoding, Flight, GapNotice, Notice, Seat, take_off
from chat.rooms.entries import Redactions


class Lane:
    """What its members have (`position`), and what waits to be told to them."""

    def __init__(self, clock: Callable[[], float], *, waiting_max: int) -> None:
        self._clock = clock
        self._waiting_max = waiting_max
        self._audiences: dict[Encoding, Audience] = {}
        self._waiting: deque[tuple[float, Entry]] = deque()  # when it is due, oldest first
        self._notices: list[Notice] = []
        self.delay_seconds = 0.0
        self.position: Position | None = None

    def __len__(self) -> int:
        return sum(len(audience) for audience in self._audiences.values())

    def add(self, seat: Seat) -> None:
        """Let a member in."""
        audience = self._audiences.get(seat.encoding)
        if audience is None:
            audience = self._audiences[seat.encoding] = Audience(seat.encoding)
        audience.add(seat)

    def remove(self, seat: Seat) -> bool:
        """Let a member go; False if it was not here."""
        audience = self._audiences.get(seat.encoding)
        if audience is None or not audience.remove(seat):
            return False
        if not len(audience):
            del self._audiences[seat.encoding]
        return True

    def seats(self) -> list[Seat]:
        """Who is here now."""
        return [seat for audience in self._audiences.values() for seat in audience.seats()]

    def wait(self, entry: Entry) -> None:
        """Tell an entry when it is due."""
        if len(self._waiting) >= self._waiting_max:
            self.release()
        self._waiting.append((self._clock() + self.delay_seconds, entry))

    def notify(self, notice: Notice) -> None:
        """Tell something else at the next flush, ahead of the entries."""
        self._notices.append(notice)

    def release(self) -> None:
        """Hold nothing back any longer."""
        self._waiting = deque((0.0, entry) for _, entry in self._waiting)

    def redact(self, redactions: Redactions) -> None:
        """Take away from what waits."""
        self._waiting = deque((due, redactions.apply(entry)) for due, entry in self._waiting)

    def start_anew(self, position: Position, gap: GapNotice | None) -> None:
        """Go on from here; what waited is within the gap."""
        self._waiting.clear()
        self.position = position
        if gap is not None:
            self._notices.append(gap)

    def reach(self, position: Position) -> None:
        """Everything up to here is told or waits; if nothing waits, this is where the members are."""
        if not self._waiting:
            self.position = position

    @property
    def due_at(self) -> float | None:
        """When the next entry is due, by the room's clock."""
        return self._waiting[0][0] if self._waiting else None

    @property
    def has_notices(self) -> bool:
        """Whether something waits that is told ahead of the ticks."""
        return bool(self._notices)

    def take_due(self, epoch: str | None, blobs: dict[object, bytes]) -> "tuple[list[Entry], list[Flight]]":
        """What is to be told now, and its flights; from here on it counts as told, so nothing may await before.

        ``blobs`` keeps what was encoded, for other lanes that tell the same.
        """
        now, entries = self._clock(), []
        while self._waiting and self._waiting[0][0] <= now:
            entries.append(self._waiting.popleft()[1])
        notices, self._notices = self._notices, []
        if epoch is None or not (entries or notices):
            return entries, []
        if entries:
            self.position = Position(entries[-1].offset, epoch)
        return entries, [
            self._flight(audience, epoch, notices, entries, blobs) for audience in self._audiences.values()
        ]

    def _flight(
        self,
        audience: Audience,
        epoch: str,
        notices: Sequence[Notice],
        entries: Sequence[Entry],
        blobs: dict[object, bytes],
    ) -> Flight:
        same = (audience.encoding, *map(id, notices), *map(id, entries))
        blob = blobs.get(same)
        if blob is None:
            blob = blobs[same] = audience.encode(epoch, notices, entries)
        return take_off(audience, epoch, notices, entries, blob)
