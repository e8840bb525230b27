"""Waits with jitter, so that a crowd does not come at once: pauses, and longer and longer ones after failures."""

import asyncio
import random


def jittered(seconds: float, low: float = 0.9, high: float = 1.1) -> float:
    """A time by chance, between `low` and `high` times `seconds`."""
    return seconds * random.uniform(low, high)  # noqa: S311  spreads load, hides nothing


async def pause(seconds: float, low: float = 0.9, high: float = 1.1) -> None:
    """Sleep for a time by chance, between `low` and `high` times `seconds`: processes need not look at once."""
    await asyncio.sleep(jittered(seconds, low, high))


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
        return jittered(plain, 1 - self._jitter, 1)

    async def wait(self) -> float:
        """Sleep for the next wait; the answer is how many seconds it was."""
        seconds = self.next_seconds()
        await asyncio.sleep(seconds)
        return seconds

    def reset(self) -> None:
        """Start again from the first wait: the thing worked."""
        self._plain_seconds = self._first_seconds
        self.attempts = 0
