"""Who has been away for very long is told nothing until they come back (L-C1): their follows are silenced, and kept.

Set-based, in batches of people, each a transaction of its own that says it to those people too. It may stop anywhere
and be run by any number of processes at once: a batch takes whom no other transaction holds and who still are away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from notify import metrics, preferences_store
from notify.preferences_store import Inactive
from runtime.postgres import Connection, Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 24 * 3_600.0
RETRY_SECONDS = 60.0
BATCH_PEOPLE_MAX = 50
"""With as many follows as one person may have each, still a statement of a few seconds."""

TellAway = Callable[[Connection, Sequence[UUID]], Awaitable[None]]
"""Tells people, within the transaction that silences them, that they are told nothing any more and how to undo it."""


@dataclass(frozen=True, slots=True)
class Silenced:
    """How many people were (or would be) told nothing any more, and how many follows that are."""

    people: int = 0
    follows: int = 0


async def tell_in_the_inbox(_connection: Connection, _people: Sequence[UUID]) -> None:
    """Nothing to do: the inbox and the preferences say `away_since` as long as it lasts."""


async def silence_the_away(
    pool: Pool, *, after: timedelta, dry_run: bool = False, tell: TellAway = tell_in_the_inbox
) -> Silenced:
    """Silence everybody who has done nothing for `after`; with `dry_run` only count them."""
    inactive_since = datetime.now(UTC) - after
    behind: tuple[datetime, UUID] | None = None
    done = Silenced()
    while True:
        batch = await preferences_store.list_inactive(
            pool, inactive_since=inactive_since, after=behind, people_max=BATCH_PEOPLE_MAX
        )
        # who follows nobody has nothing to be silenced, and whom they follow one day they will want to hear
        concerned = [person for person in batch if person.follows]
        done = _sum(done, _counted(concerned) if dry_run else await _silence(pool, concerned, inactive_since, tell))
        if len(batch) < BATCH_PEOPLE_MAX:
            return done
        behind = (batch[-1].active_at, batch[-1].user_id)


async def _silence(pool: Pool, people: Sequence[Inactive], inactive_since: datetime, tell: TellAway) -> Silenced:
    if not people:
        return Silenced()
    async with pool.acquire() as connection, connection.transaction():
        ids = [person.user_id for person in people]
        away = await preferences_store.mark_away(connection, ids, inactive_since=inactive_since)
        follows = await preferences_store.silence_follows(connection, away, is_silent=True)
        if away:
            await tell(connection, away)
    metrics.people_away.inc(len(away))
    return Silenced(len(away), follows)


class AwayWatch:
    """A Service: looks once a day. `hold` only counts, and says so, until somebody has looked at the figures."""

    name = "away"

    def __init__(self, pool: Pool, *, after: timedelta, hold: bool, tell: TellAway = tell_in_the_inbox) -> None:
        self._pool = pool
        self._after = after
        self._hold = hold
        self._tell = tell

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            looked = await self.look()
            await asyncio.sleep(LOOK_SECONDS if looked else RETRY_SECONDS)

    async def look(self) -> bool:
        """Look now; False: it has to be tried again soon."""
        try:
            done = await silence_the_away(self._pool, after=self._after, dry_run=self._hold, tell=self._tell)
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("away_postponed", reason=str(error) or type(error).__name__)
            return False
        if done.people and self._hold:
            log.info("away_held", people=done.people, follows=done.follows, after_days=self._after.days)
        elif done.people:
            log.info("away_silenced", people=done.people, follows=done.follows, after_days=self._after.days)
        return True


def _counted(people: Sequence[Inactive]) -> Silenced:
    return Silenced(len(people), sum(person.follows for person in people))


def _sum(one: Silenced, other: Silenced) -> Silenced:
    return Silenced(one.people + other.people, one.follows + other.follows)
