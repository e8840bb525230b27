"""Which events may be published although smaller ids are missing: those of transactions still open, or undone.

Ids come from a sequence and are handed out before the commit, so a visible event may have an invisible elder that is
yet to commit. Passing it over would lose it; waiting for every missing id would wait for ever for those that rolled
back.

Whoever gets an id has a transaction id already. So, having seen event ``n``, take a fresh transaction id ``x``: every
event below ``n`` belongs to a transaction before ``x``. Once a look at the outbox finds no transaction before ``x``
open, what is missing below ``n`` in that very look is gone for good.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

MARKS_MAX = 16


class _Mark(NamedTuple):
    event_id: int
    transaction_id: int


class Gaps:
    """Remembers up to which id the outbox is settled. ``open``: publishing waits at a gap."""

    def __init__(self) -> None:
        self.open = False
        self._marks: deque[_Mark] = deque()
        self._settled_id = 0

    def publishable(self, ids: Sequence[int], *, after_id: int, oldest_open: int) -> int:
        """How many of the visible ``ids`` (ascending, all beyond ``after_id``) may go out now.

        ``oldest_open`` is the oldest transaction that was open in the look that found them.
        """
        while self._marks and self._marks[0].transaction_id <= oldest_open:
            self._settled_id = self._marks.popleft().event_id
        previous = after_id
        for position, event_id in enumerate(ids):
            if event_id != previous + 1 and event_id > self._settled_id:
                self.open = True
                return position
            previous = event_id
        self.open = False
        return len(ids)

    def wants_mark(self, seen_id: int) -> bool:
        """Whether a mark at ``seen_id`` would settle more than those that are waiting."""
        return len(self._marks) < MARKS_MAX and (not self._marks or self._marks[-1].event_id < seen_id)

    def mark(self, seen_id: int, *, transaction_id: int) -> None:
        """Note that event ``seen_id`` was seen before ``transaction_id`` was taken."""
        self._marks.append(_Mark(seen_id, transaction_id))
