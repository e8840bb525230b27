"""Finds out who is named in a text: `@name` of people who are in the room or known here."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Final
from uuid import UUID

import structlog

from chat.rooms.entries import Mention
from chat.rooms.room import Room
from chat.store import QUERIES
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)


MENTIONS_MAX: Final = 10
"""Of one message; further ones are plain text."""
LOOK_UP_SECONDS_MAX = 0.5
"""A message waits so long for who is named in it, and then names nobody."""
AWAY_SECONDS = 5.0
"""After a look-up that failed, nobody is looked up for so long."""
KEPT_SECONDS = 60.0
KEPT_NAMES_MAX = 20_000

# Not within a word or an address: "mail me@example.org" names nobody.
_MENTION: Final = re.compile(r"(?<![\w@.])@([A-Za-z0-9_]{3,30})(?!\w)")


def names_in(text: str) -> list[str]:
    """Names that a text may mean by `@name`, lower case, each once, in order; at most MENTIONS_MAX."""
    if "@" not in text:
        return []
    return list(dict.fromkeys(found.group(1).lower() for found in _MENTION.finditer(text)))[:MENTIONS_MAX]


class Mentions:
    """Looks people up by name, and remembers them for a minute, also those who do not exist."""

    def __init__(
        self,
        pool: Pool,
        clock: Callable[[], float] = time.monotonic,
        *,
        patience_seconds: float = LOOK_UP_SECONDS_MAX,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._kept: OrderedDict[str, tuple[float, UUID | None]] = OrderedDict()
        self._away_until = float("-inf")

    async def find(self, room: Room, text: str) -> tuple[Mention, ...]:
        """Who is named in a text. Never fails: while people cannot be looked up, only those who are known are."""
        names = names_in(text)
        if not names:
            return ()
        unknown = [name for name in names if not self._fresh(name)]
        if unknown:
            here = _here(room, unknown)
            for name, user_id in here.items():
                self._keep(name, user_id)
            await self._look_up([name for name in unknown if name not in here])
        found = [(name, self._kept[name][1]) for name in names if name in self._kept]
        return tuple(Mention(user_id=user_id, username=name) for name, user_id in found if user_id is not None)

    async def _look_up(self, names: Collection[str]) -> None:
        if not names or self._clock() < self._away_until:
            return
        try:
            async with asyncio.timeout(self._patience_seconds):
                rows = await QUERIES.find_people(self._pool, usernames=list(names))
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            self._away_until = self._clock() + AWAY_SECONDS
            log.info("chat_mentions_not_looked_up", reason=str(error) or type(error).__name__)
            return
        found = {row["username"]: row["user_id"] for row in rows}
        for name in names:
            self._keep(name, found.get(name))

    def _fresh(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is not None and self._clock() - kept[0] <= KEPT_SECONDS

    def _keep(self, name: str, user_id: UUID | None) -> None:
        self._kept[name] = (self._clock(), user_id)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT_NAMES_MAX:
            self._kept.popitem(last=False)


def _here(room: Room, names: Collection[str]) -> Mapping[str, UUID]:
    """Those of the names who are in the room on this gateway."""
    wanted = set(names)
    return {
        seat.username: user_id for user_id, seats in room.people.items() for seat in seats if seat.username in wanted
    }
