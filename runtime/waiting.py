"""Waiting at start for what a process needs, and saying so: processes may start in any order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from runtime import metrics
from runtime.backoff import Backoff
from runtime.unavailable import is_unavailable

log = structlog.get_logger(__name__)
T = TypeVar("T")

WAIT_FIRST_SECONDS = 0.1
WAIT_CEILING_SECONDS = 2.0


async def wait_for(dependency: str, open_it: Callable[[], Awaitable[T]], *, attempt_timeout_seconds: float = 10.0) -> T:
    """What `open_it` gives, tried until the dependency is there; errors that waiting cannot mend are raised at once.

    Every failed attempt is logged as `waiting_for_<dependency>` with the seconds waited so far. Cancel to give up.
    """
    backoff = Backoff(WAIT_FIRST_SECONDS, WAIT_CEILING_SECONDS)
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        try:
            async with asyncio.timeout(attempt_timeout_seconds):
                opened = await open_it()
        except Exception as error:
            if not is_unavailable(error):
                raise
            waited_seconds = round(loop.time() - started, 1)
            reason = str(error) or type(error).__name__
            log.warning(f"waiting_for_{dependency}", waited_seconds=waited_seconds, reason=reason)
            metrics.dependency_waits.labels(dependency).inc()
        else:
            if backoff.attempts:
                log.info(f"found_{dependency}", waited_seconds=round(loop.time() - started, 1))
            return opened
        await backoff.wait()
