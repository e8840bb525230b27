"""Circuit breakers: a provider that fails and fails is left alone for a while, longer each time, and then probed."""

from dataclasses import dataclass
from datetime import timedelta

PAUSE_FIRST = timedelta(seconds=5)


@dataclass(slots=True)
class _Failures:
    in_a_row: int = 0
    pauses: int = 0
    """Pauses in a row that it did not recover from, of this worker's or another's making."""


class Breakers:
    """One for each provider of a channel. Which pauses there are is in the database, so that all workers keep them.

    Closed: everything is sent. Open (`failed` answered a pause): nothing is. When the pause is over: half open. One
    delivery at a time is sent then; the first that gets through closes the breaker, one that fails opens it for longer.
    """

    def __init__(self, *, failures_max: int, pause_max: timedelta) -> None:
        self._failures_max = failures_max
        self._pause_max = pause_max
        self._failures: dict[str, _Failures] = {}

    def failed(self, provider: str) -> timedelta | None:
        """Note a failure; how long to leave the provider alone from now on, or None: go on."""
        known = self._failures.setdefault(provider, _Failures())
        known.in_a_row += 1
        if known.in_a_row < (1 if known.pauses else self._failures_max):
            return None
        known.in_a_row = 0
        known.pauses += 1
        # the exponent is bounded because a provider may stay away for ever
        return min(PAUSE_FIRST * 2.0 ** min(known.pauses - 1, 20), self._pause_max)

    def worked(self, provider: str) -> bool:
        """Note that the provider answered; whether it had been left alone, and need not be any more."""
        known = self._failures.pop(provider, None)
        return known is not None and known.pauses > 0

    def pauses(self, provider: str) -> int:
        """How many pauses in a row it did not recover from."""
        known = self._failures.get(provider)
        return known.pauses if known else 0

    def heard(self, pauses: dict[str, int]) -> None:
        """Take over what all workers together know: by provider, the pauses that it did not recover from."""
        for provider, number in pauses.items():
            self._failures.setdefault(provider, _Failures()).pauses = number
        for provider in [name for name, known in self._failures.items() if known.pauses and name not in pauses]:
            self._failures[provider].pauses = 0  # another worker got through
