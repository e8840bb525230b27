"""Keeps a test off the moment at which a minute or an hour turns, where what it proves holds within one of them."""

import asyncio
import time


async def not_at_the_turn_of(period_seconds: float, *, spare_seconds: float = 5.0) -> None:
    """Wait for the next period (of the Unix clock, in seconds) if this one ends within the spare ones.

    Hours of time zones turn with quarters of ours at the latest: 900 s stands for all of them.
    """
    left = period_seconds - time.time() % period_seconds
    if left < spare_seconds:
        await asyncio.sleep(left)
