"""When a failed delivery is tried again."""

import random
from datetime import timedelta

from notify.deliveries.delivery import Failed, RetrySchedule

JITTER = 0.2
"""The share of a wait that is random, so that what failed together does not come back together."""
WAIT_SECONDS_MAX = 2 * 86_400.0


def next_wait_seconds(
    schedule: RetrySchedule, attempts: int, failed: Failed, *, chance: float | None = None
) -> float | None:
    """How long to wait after the failure number ``attempts + 1``; None: that was the last attempt.

    Never less than the receiver asked for. ``chance`` (0 to 1) takes the place of the random number.
    """
    if attempts >= len(schedule.waits):
        return None
    asked = failed.retry_after or timedelta()
    seconds = max(schedule.waits[attempts], asked).total_seconds()
    share = random.random() if chance is None else chance  # noqa: S311  spreads load, hides nothing
    return min(seconds, WAIT_SECONDS_MAX) * (1 + JITTER * share)
