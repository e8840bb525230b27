"""How far a replica is behind, in seconds, and whether it is used: two small machines without a clock of their own.

`now()` minus `pg_last_xact_replay_timestamp()` is no lag: on an idle primary it grows although nothing is missing, and
on a replica that lost its primary it cannot be told from that. So positions are compared. The primary's are remembered
with the moment at which each was seen; a replica is behind since the first moment at which something was there that it
has not replayed.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

SAMPLES_MAX: Final = 1_200
"""At four a second five minutes: who is further behind is told as that much, and is long out."""

Verdict = Literal["in", "out"]


class PrimaryPositions:
    """Where the primary's log ended, and when: positions grow, so do the moments."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=SAMPLES_MAX)
        self.system: bytes | None = None
        """Which cluster it is, once that is known."""

    def note(self, at_seconds: float, lsn: int, system: bytes) -> None:
        """The log ended here at this moment. What has not moved is not new: the first moment counts."""
        if self._seen and (lsn < self._seen[-1][1] or system != self.system):
            self._seen.clear()  # another primary, on another log: nothing from before compares
        self.system = system
        if not self._seen or lsn > self._seen[-1][1]:
            self._seen.append((at_seconds, lsn))

    def lag_seconds(self, replayed: int, now_seconds: float) -> float:
        """How long there has been something that whoever replayed this much lacks; 0 for who lacks nothing."""
        behind_since = now_seconds
        for at_seconds, lsn in reversed(self._seen):
            if lsn <= replayed:
                break
            behind_since = at_seconds
        return now_seconds - behind_since

    @property
    def known(self) -> bool:
        """Whether anything can be compared yet."""
        return bool(self._seen)


@dataclass
class Breaker:
    """Out at the first bad sign; in again after `healthy_seconds` without one, twice as long if that was too early.

    At the start a replica is out until it was heard of once.
    """

    healthy_seconds: float
    healthy_seconds_max: float = 60.0
    state: Verdict = "out"
    reason: str = "not heard of yet"
    _healthy_since: float | None = None
    _wanted_seconds: float = 0.0
    _in_since: float | None = None

    def bad(self, now_seconds: float, reason: str) -> bool:
        """It is behind, silent, or failed; whether that put it out."""
        self._healthy_since = None
        self.reason = reason
        if self.state == "out":
            return False
        # A minute of good service, and what was before is forgotten.
        lasted = self._in_since is not None and now_seconds - self._in_since >= self.healthy_seconds_max
        self._wanted_seconds = (
            self.healthy_seconds
            if lasted or not self._wanted_seconds
            else min(self._wanted_seconds * 2, self.healthy_seconds_max)
        )
        self.state = "out"
        return True

    def good(self, now_seconds: float) -> bool:
        """It answered and is not behind; whether that brought it back."""
        if self.state == "in":
            return False
        if self._healthy_since is None:
            self._healthy_since = now_seconds
        if now_seconds - self._healthy_since < self._wanted_seconds:
            return False
        self.state, self.reason, self._in_since = "in", "", now_seconds
        return True
