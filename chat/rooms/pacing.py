"""When a room may flush: at once while it is quiet, on average once in a tick while it is busy.

The times are on a grid that only moves forward (the generic cell rate algorithm, ITU-T I.371), not a tick after the
last flush: otherwise every late timer delays all flushes after it, and messages that come exactly once in a tick wait
for up to a whole one. Half a tick of slack lets a message that comes a little early go at once.
"""

from collections.abc import Callable

SLACK_TICKS = 0.5


class Pacing:
    """Counts the flushes of one room."""

    def __init__(self, tick_seconds: float, clock: Callable[[], float]) -> None:
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._next_at = 0.0

    def wait_seconds(self) -> float:
        """How long until the next flush is due; 0 if it is."""
        return max(0.0, self._next_at - self._tick_seconds * SLACK_TICKS - self._clock())

    def flush(self) -> None:
        """Count one now."""
        self._next_at = max(self._next_at, self._clock()) + self._tick_seconds
