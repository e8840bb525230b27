"""What the database knows of recordings' folders in the store, in the order of the store's listing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from archive.store import QUERIES
from runtime.postgres import Pool

FOLDERS_PAGE_ROWS = 1_000
PACE_OBJECTS = 500
LOWEST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Folder:
    """One recording's folder. ``busy``: somebody may be about to name what is in it; ``held``: it stays as it is.

    ``complete``: what is ``named`` must be there; ``unseen`` is what of it has not been found yet. ``known`` is False
    when the database has neither the recording nor any object of it.
    """

    stream_id: UUID
    channel_id: UUID | None
    known: bool
    busy: bool
    held: bool
    complete: bool
    named: Mapping[str, int | None]
    unseen: set[str]


async def find_folder(pool: Pool, stream_id: UUID) -> Folder:
    """What is known of a folder now. All names of one recording are held in memory, so some megabytes at most."""
    row = await QUERIES.find_folder(pool, stream_id=stream_id)
    rows = await QUERIES.list_named_objects(pool, first_id=stream_id, last_id=stream_id)
    named = {one["key"]: one["size_bytes"] for one in rows}
    fields = dict(row)
    known = fields.pop("known") or bool(named)
    return Folder(stream_id=stream_id, known=known, named=named, unseen=set(named), **fields)


class KnownFolders:
    """The recordings that play, in order, taken a stretch at a time."""

    def __init__(self, pool: Pool, after: str) -> None:
        self._pool = pool
        self._last = stream_id_of(after) or LOWEST
        self._page: list[UUID] = []
        self._at_end = False

    async def until(self, before: str | None) -> AsyncIterator[UUID]:
        """Those that come before a folder of this name and were not given out yet; None: all others.

        One of the very name is passed over.
        """
        while True:
            if not self._page and not self._at_end:
                rows = await QUERIES.list_playing_after(self._pool, after=self._last, rows_max=FOLDERS_PAGE_ROWS)
                self._page = [row["stream_id"] for row in reversed(rows)]
                self._at_end = len(rows) < FOLDERS_PAGE_ROWS
            if not self._page or (before is not None and str(self._page[-1]) > before):
                return
            self._last = self._page.pop()
            if str(self._last) != before:
                yield self._last


class Pace:
    """Keeps a loop from being faster than so many turns a second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._turns = 0
        self._since = time.monotonic()

    async def wait(self) -> bool:
        """Wait if need be; True once in a while, for what need not be done at every turn."""
        self._turns += 1
        if self._turns < PACE_OBJECTS:
            return False
        await asyncio.sleep(max(0.0, self._since + self._turns / self._per_second - time.monotonic()))
        self._turns, self._since = 0, time.monotonic()
        return True


def behind(name: str) -> str:
    """What sorts behind every key in the folder of this name: no key has a tilde, which is behind what they have."""
    return f"{name}/~" if name else ""


def stream_id_of(name: str) -> UUID | None:
    """The recording whose folder has this name, or None: it is no recording's."""
    try:
        stream_id = UUID(name)
    except ValueError:
        return None
    return stream_id if str(stream_id) == name else None
