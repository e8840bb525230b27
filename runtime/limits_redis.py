"""Limits counted in Redis: exact over all processes, one round trip for all requests that wait."""

from collections.abc import Mapping
from importlib import resources

from runtime.limits import Limit, LimiterAway, Verdict
from runtime.redis_batches import RedisAway, RedisBatches, Script

OPEN_SECONDS_MAX = 0.1
"""How long a request that may pass uncounted waits for the count."""
CLOSED_SECONDS_MAX = 2.0
"""How long one waits that would be refused otherwise."""


class RedisLimiter:
    """A list of times for each limit and subject, as long as the amount at most, gone when the window is over."""

    def __init__(self, batches: RedisBatches, amounts: Mapping[str, int]) -> None:
        """``amounts`` are those that hold, by the name of the limit."""
        self._batches = batches
        self._amounts = amounts
        self._script = Script.of(resources.files("runtime").joinpath("limits.lua").read_text())

    async def take(self, limit: Limit, subject: str) -> Verdict:
        """Count one request of `subject` unless it would be one too many; raises LimiterAway."""
        patient = limit.away == "closed"
        if self._batches.resting and not patient:
            raise LimiterAway("Redis was away a moment ago")
        amount = self._amounts[limit.name]
        try:
            counted, remaining, reset_ms = await self._batches.ask(
                self._script,
                [f"limit:{limit.name}:{subject}"],
                [amount, limit.seconds * 1000],
                seconds_max=CLOSED_SECONDS_MAX if patient else OPEN_SECONDS_MAX,
            )
        except RedisAway as error:
            raise LimiterAway(str(error)) from error
        return Verdict(bool(counted), amount, remaining, reset_ms / 1000)
