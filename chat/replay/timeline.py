"""From seconds of a recording to moments and back; pure.

A recording's time stands still while nothing is recorded: a publisher that reconnects, segments that were lost. What
was said meanwhile belongs to the second at which the recording goes on.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a recording and the moment that it shows; from there on both go on together."""

    at_seconds: float
    at: datetime


@dataclass(frozen=True)
class Timeline:
    """Anchors in order, at least one. ``ends_seconds`` is how long the recording is; None: it still grows."""

    anchors: Sequence[Anchor]
    ends_seconds: float | None = None

    def earliest(self, seconds: float) -> datetime:
        """The first moment that belongs to this second or a later one: at a seam, where the recording stopped."""
        if self.ends_seconds is not None:
            seconds = min(seconds, self.ends_seconds)
        at = bisect_right(self.anchors, seconds, key=lambda anchor: anchor.at_seconds) - 1
        if at <= 0:
            return self._moment(0, max(0.0, seconds))
        if self.anchors[at].at_seconds == seconds:
            return min(self._moment(at - 1, seconds), self.anchors[at].at)
        return self._moment(at, seconds)

    def seconds_of(self, moment: datetime) -> float:
        """Where in the recording a moment belongs; what is before the start or behind the end, there."""
        at = max(0, bisect_right(self.anchors, moment, key=lambda anchor: anchor.at) - 1)
        anchor = self.anchors[at]
        seconds = anchor.at_seconds + max(0.0, (moment - anchor.at).total_seconds())
        ends = self.anchors[at + 1].at_seconds if at + 1 < len(self.anchors) else self.ends_seconds
        return seconds if ends is None else min(seconds, ends)

    def _moment(self, at: int, seconds: float) -> datetime:
        """The moment by one anchor, but never behind the next one's."""
        anchor = self.anchors[at]
        moment = anchor.at + timedelta(seconds=seconds - anchor.at_seconds)
        return min(moment, self.anchors[at + 1].at) if at + 1 < len(self.anchors) else moment


def ordered(anchors: Sequence[Anchor]) -> list[Anchor]:
    """Those that go on in both, as clocks that were set back would not."""
    kept: list[Anchor] = []
    for anchor in sorted(anchors, key=lambda one: one.at_seconds):
        if not kept or anchor.at > kept[-1].at:
            kept.append(anchor)
    return kept
