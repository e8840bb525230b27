"""Waiting longer after each failure, up to a ceiling, with jitter so that a crowd does not return at once."""

import asyncio
import random


class Backoff:
    """Doubling waits from `first_seconds` up to `ceiling_seconds`; jitter is the share (0..1) that is random."""

    def __init__(self, first_seconds: float = 0.1, ceiling_seconds: float = 5.0, jitter: float = 0.2) -> None:
        if not 0 < first_seconds <= ceiling_seconds:
            raise ValueError("first_seconds must be above zero and not above ceiling_seconds")
        if not 0 <= jitter <= 1:
            raise ValueError("jitter is a share between 0 and 1")
        self._first_seconds = first_seconds
        self._ceiling_seconds = ceiling_seconds
        self._jitter = jitter
        self._plain_seconds = first_seconds
        self.attempts = 0

    def next_seconds(self) -> float:
        """The next wait in seconds; each call counts as one attempt. Never above the ceiling."""
        plain = self._plain_seconds
        self._plain_seconds = min(plain * 2, self._ceiling_seconds)
        self.attempts += 1
        return plain * (1 - self._jitter * random.random())  # noqa: S311  spreads load, hides nothing

    async def wait(self) -> float:
        """Sleep for the next wait; the answer is how many seconds it was."""
        seconds = self.next_seconds()
        await asyncio.sleep(seconds)
        return seconds

    def reset(self) -> None:
        """Start again from the first wait: the thing worked."""
        self._plain_seconds = self._first_seconds
        self.attempts = 0
