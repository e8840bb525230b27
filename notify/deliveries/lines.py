"""What a worker has taken and not yet sent: a line for each provider, of which so many are served at once."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from notify.deliveries.delivery import Delivery, Sending


@dataclass(slots=True, eq=False)
class Leased:
    """A delivery that this worker has, and until when; `sending` comes when it is prepared."""

    delivery: Delivery
    lease: UUID
    start_by: float
    """An attempt that begins later may not be over when the lease is; on the clock of the loop."""
    sending: Sending | None = None


@dataclass(slots=True, eq=False)
class _Line:
    provider: str
    room_max: int
    waiting: deque[Leased] = field(default_factory=deque)
    under_way: int = 0
    is_listed: bool = False
    paused_until: float = 0.0


class Lines:
    """The lines of one worker. Providers take turns, each with at most so many sends at once.

    How much is taken ahead for a provider adapts itself: half as much after some had to be given back unsent, twice as
    much each time that its line ran empty.
    """

    def __init__(self, *, room_max: int, sends_per_provider_max: int) -> None:
        self._room_max = room_max
        self._sends_max = sends_per_provider_max
        self._lines: dict[str, _Line] = {}
        self._turns: deque[_Line] = deque()
        self.waiting = 0

    def add(self, leased: Sequence[Leased]) -> None:
        """Put deliveries into the lines of their providers."""
        for one in leased:
            line = self._line(one.delivery.provider)
            line.waiting.append(one)
            self._list(line)
        self.waiting += len(leased)

    def next(self) -> Leased | None:
        """Whose turn it is, now under way until `done`; None: nobody's at the moment."""
        if not self._turns:
            return None
        line = self._turns.popleft()
        line.is_listed = False
        leased = line.waiting.popleft()
        line.under_way += 1
        self.waiting -= 1
        self._list(line)
        if not line.waiting:
            line.room_max = min(line.room_max * 2, self._room_max)
        return leased

    def done(self, provider: str) -> None:
        """A delivery to a provider is not under way any more."""
        line = self._lines[provider]
        line.under_way -= 1
        self._list(line)
        self._forget(line)

    def has(self, provider: str) -> bool:
        """Whether something waits for a provider, or is under way."""
        return provider in self._lines

    def pause(self, provider: str, until: float) -> list[Leased]:
        """Leave a provider alone; those that wait for it, to be given back."""
        line = self._line(provider)
        line.paused_until = max(line.paused_until, until)
        return self._take_back(line)

    def is_paused(self, provider: str, now: float) -> bool:
        """Whether a provider is being left alone."""
        line = self._lines.get(provider)
        return line is not None and now < line.paused_until

    def give_back_late(self, late: Leased) -> list[Leased]:
        """One came up too late for its lease: the others of its line that are no earlier; takes less from now on."""
        line = self._line(late.delivery.provider)
        line.room_max = max(line.room_max // 2, self._sends_max)
        kept = [one for one in line.waiting if one.start_by > late.start_by]
        given = [one for one in line.waiting if one.start_by <= late.start_by]
        self._replace(line, kept)
        return given

    def give_back_all(self) -> list[Leased]:
        """Everything that waits."""
        return [one for line in list(self._lines.values()) for one in self._take_back(line)]

    def rooms(self, now: float) -> Iterator[tuple[str, int]]:
        """By provider: how many more may be taken for it; a provider without a line is left out."""
        for line in list(self._lines.values()):
            if not self._forget(line, now):
                paused = now < line.paused_until
                yield line.provider, 0 if paused else max(line.room_max - len(line.waiting), 0)

    def _line(self, provider: str) -> _Line:
        line = self._lines.get(provider)
        if line is None:
            line = self._lines[provider] = _Line(provider, self._room_max)
        return line

    def _list(self, line: _Line) -> None:
        """Have it take its turns, if there is something to send and a place to send it from."""
        if not line.is_listed and line.waiting and line.under_way < self._sends_max:
            line.is_listed = True
            self._turns.append(line)

    def _take_back(self, line: _Line) -> list[Leased]:
        given = list(line.waiting)
        self._replace(line, [])
        return given

    def _replace(self, line: _Line, kept: Sequence[Leased]) -> None:
        self.waiting += len(kept) - len(line.waiting)
        line.waiting = deque(kept)
        if line.is_listed and not kept:
            self._turns.remove(line)
            line.is_listed = False

    def _forget(self, line: _Line, now: float | None = None) -> bool:
        """A line that says nothing any more is not kept: providers are as many as people name."""
        pause_is_over = not line.paused_until or (now is not None and now >= line.paused_until)
        is_idle = not line.waiting and not line.under_way and pause_is_over
        if is_idle:
            self._lines.pop(line.provider, None)
        return is_idle
