"""Being cancelled although a library has lost the cancellation."""

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if somebody has asked the current task to end.

    The Redis client can answer a cancellation with an error of its own when it comes while a lost connection is being
    closed, and with a success when it comes while a connection is being made; the Postgres client with a timeout when
    it comes while a frozen server holds up a pool. A loop that goes on after any of these would then run on for ever,
    and the process could not stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
