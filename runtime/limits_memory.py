"""Limits counted in this process alone: for tests, and what the count in Redis is compared with."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from time import monotonic

from runtime.limits import Limit, Verdict


class MemoryLimiter:
    """A queue of times for each limit and subject."""

    def __init__(self, amounts: Mapping[str, int], *, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds."""
        self._amounts = amounts
        self._clock = clock
        self._times: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)

    async def take(self, limit: Limit, subject: str) -> Verdict:
        """Count one request of `subject` unless it would be one too many."""
        now, times, amount = self._clock(), self._times[limit.name, subject], self._amounts[limit.name]
        while times and times[0] <= now - limit.seconds:
            times.popleft()
        reset_seconds = (times[0] if times else now) + limit.seconds - now
        if len(times) >= amount:
            return Verdict(allowed=False, amount=amount, remaining=0, reset_seconds=reset_seconds)
        times.append(now)
        return Verdict(allowed=True, amount=amount, remaining=amount - len(times), reset_seconds=reset_seconds)
