"""Waits for Postgres and the object store on behalf of many streams, and tells of it once for all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from archive.outages import SUSPECTS, is_outage
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)
T = TypeVar("T")

# Hundreds of streams wait for the same store; so often one of them says so.
TELL_SECONDS = 10.0


class Patience:
    """Does what needs Postgres or the store again and again while they are away."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    async def until_done(self, step: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work`` until it succeeds; an error that is no outage is the caller's."""
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                return await work()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                self.tell(step, error)
            await backoff.wait()

    def tell(self, step: str, error: BaseException) -> None:
        """Say that ``step`` has to wait, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._told_at.get(step, -TELL_SECONDS) >= TELL_SECONDS:
            self._told_at[step] = now
            log.warning("shipper_waits", step=step, reason=str(error) or type(error).__name__)
