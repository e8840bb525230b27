"""What a service brings to ``livestream retention``: a plan, and one round of doing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

Action = Literal["cool", "delete", "purge", "sweep"]
ACTIONS: tuple[Action, ...] = ("cool", "delete", "purge", "sweep")


@dataclass(frozen=True, slots=True)
class Line:
    """One action on what is a channel's (None: nobody knows whose it is): how many things, and how many bytes.

    ``cool`` moves to a colder class, ``delete`` hides and can be undone, ``purge`` and ``sweep`` free the bytes.
    """

    action: Action
    channel_id: UUID | None
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be done (or was), what holds keep from it, and what a person should know.

    ``missing`` counts what is named and not there; nothing of it is repaired.
    """

    lines: Sequence[Line]
    held: Sequence[Line] = ()
    notes: Sequence[str] = ()
    missing: int = 0

    def freed_bytes(self) -> int:
        """What the store has less afterwards."""
        return sum(line.size_bytes for line in self.lines if line.action in ("purge", "sweep"))


class RetentionPlan(Protocol):
    """One service's retention."""

    @property
    def service(self) -> str:
        """Whose it is."""
        ...

    async def plan(self, now: datetime) -> Found:
        """What is to be done now; changes nothing."""
        ...

    async def apply(self, now: datetime) -> Found:
        """Do one round of it; what was done."""
        ...


def summed(lines: Iterable[Line]) -> list[Line]:
    """One line for each action and channel, in a fixed order."""
    totals: dict[tuple[Action, UUID | None], tuple[int, int]] = {}
    for line in lines:
        count, size_bytes = totals.get((line.action, line.channel_id), (0, 0))
        totals[line.action, line.channel_id] = (count + line.count, size_bytes + line.size_bytes)
    ordered = sorted(totals.items(), key=lambda item: (ACTIONS.index(item[0][0]), str(item[0][1] or "")))
    return [Line(action, channel, count, size_bytes) for (action, channel), (count, size_bytes) in ordered]
