"""Rounds of work that one process at a time does, however many could: claimed by a row, gone on with after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import UUID, uuid4

import structlog

from archive.errors import ArchiveError
from archive.outages import SUSPECTS, is_outage
from archive.store import QUERIES
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

RoundKind = Literal["retention", "sweep"]

# So long a round counts as alive without a word of it.
CLAIM_SECONDS = 120.0
LOOK_SECONDS = 10.0


class RoundLost(ArchiveError):
    """The round was silent for too long, and another process has taken it over."""


class Round:
    """One claimed round; ``cursor`` says how far an earlier one that was cut short had come."""

    def __init__(self, pool: Pool, kind: RoundKind, claim: UUID, cursor: str) -> None:
        self._pool = pool
        self._kind = kind
        self._claim = claim
        self.cursor = cursor

    async def keep(self, cursor: str) -> None:
        """Say that the round goes on, and is done up to ``cursor``. Raises RoundLost."""
        kept = await QUERIES.extend_round(
            self._pool, kind=self._kind, claim=self._claim, cursor=cursor, claim_seconds=CLAIM_SECONDS
        )
        if not kept:
            raise RoundLost(f"another process has taken over the round of {self._kind}")
        self.cursor = cursor

    async def end(self, *, wait_seconds: float, cursor: str = "") -> None:
        """The next one begins after ``wait_seconds``; at ``cursor``, so from the start or where this one stopped."""
        await QUERIES.end_round(
            self._pool, kind=self._kind, claim=self._claim, cursor=cursor, wait_seconds=wait_seconds
        )


async def claim_round(pool: Pool, kind: RoundKind) -> Round | None:
    """The round that is due, for this process alone; None: none is due, or another process does it."""
    claim = uuid4()
    cursor = await QUERIES.claim_round(pool, kind=kind, claim=claim, claim_seconds=CLAIM_SECONDS)
    return None if cursor is None else Round(pool, kind, claim, cursor)


class Rounds:
    """A Service: does a round whenever one is due, and waits out outages."""

    def __init__(
        self, pool: Pool, kind: RoundKind, work: Callable[[Round], Awaitable[None]], *, every_seconds: float
    ) -> None:
        self.name = kind
        self._pool = pool
        self._kind = kind
        self._work = work
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look for a due round until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(min(LOOK_SECONDS, self._every_seconds))

    async def look(self) -> bool:
        """Do the round that is due, if one is; whether it came to its end."""
        round_: Round | None = None
        try:
            round_ = await claim_round(self._pool, self._kind)
            if round_ is None:
                return False
            await self._work(round_)
            await round_.end(wait_seconds=self._every_seconds)
        except RoundLost as lost:
            log.warning("round_lost", kind=self._kind, reason=str(lost))
            return False
        except SUSPECTS as error:
            if not is_outage(error):
                raise
            # The claim runs out by itself, and whoever comes next goes on where this one was.
            log.warning("round_postponed", kind=self._kind, reason=str(error) or type(error).__name__)
            return False
        return True
