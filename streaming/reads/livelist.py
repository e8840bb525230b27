"""Keeps the first pages of the live list as bytes that are ready to be sent, and drops them when a stream changes.

A page is what its query asks for: the plain list, or the list behind a filter that many choose. It is read from the
primary, once however many ask at the same time, and is never older than `seconds_max`. A change drops all pages: here
at once, in the other processes as soon as they hear of it (`streaming/reads/signals.py`), and by age wherever Redis is
away. While the database does not answer, a page of half a minute ago is better than none. Later pages are different for
everybody; they are read, perhaps from a replica, and not kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel

from runtime.cancellation import raise_if_cancelled
from runtime.pages import PageQuery
from runtime.queries import Executor
from runtime.ready import Ready
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from streaming import metrics

PAGES_MAX: Final = 64
"""Kept at once; those that were not asked for the longest go."""
AWAY_SECONDS_MAX: Final = 30.0
"""How old a page may be that is shown because the database does not answer."""

Query = TypeVar("Query", bound=PageQuery)
Page = TypeVar("Page", bound=BaseModel)

_from_memory = metrics.live_list_answers.labels("cache")
_from_database = metrics.live_list_answers.labels("database")
_from_outdated = metrics.live_list_answers.labels("outdated")
_NOTHING: Final = (0.0, -1, None)


class LiveList(Generic[Query, Page]):
    """Pages of the live list by their queries, which are frozen models and thus can be looked up."""

    def __init__(
        self,
        read: Callable[[Executor, Query], Awaitable[Page]],
        *,
        primary: Executor,
        replicas: Executor,
        seconds_max: float,
    ) -> None:
        self._read = read
        self._primary = primary
        self._replicas = replicas
        self._seconds_max = seconds_max
        self._pages: OrderedDict[Query, tuple[float, int, Ready[Page]]] = OrderedDict()
        """When each was read, after how many changes, and what it was."""
        self._reading: WeakValueDictionary[Query, asyncio.Lock] = WeakValueDictionary()
        self._changes = 0
        self.changed: asyncio.Event = asyncio.Event()
        """Set when the list has changed here; whoever tells the other processes clears it."""

    def forget(self) -> None:
        """The list has changed, by a transaction of this process that has committed."""
        self.drop()
        self.changed.set()

    def drop(self) -> None:
        """The list may have changed elsewhere: read it again when somebody asks."""
        self._changes += 1

    async def page(self, query: Query) -> Ready[Page]:
        """The page that everybody gets who asks so; at most `seconds_max` old. Raises what reading raises."""
        if query.cursor is not None:
            return Ready.of(await self._read(self._replicas, query))
        known = self._known(query)
        if known is not None:
            return known
        reading = self._reading.get(query)
        if reading is None:
            reading = self._reading[query] = asyncio.Lock()
        async with reading:
            return self._known(query) or await self._make(query)

    async def _make(self, query: Query) -> Ready[Page]:
        changes, read_at = self._changes, self._now()
        try:
            # From the primary: a replica that is a moment behind would be shown until the page is old.
            page = Ready.of(await self._read(self._primary, query))
        except PERHAPS_AWAY as error:
            return self._kept_for_outages(query, error)
        _from_database.inc()
        # A change while the page was read may be missing in it: then it is out of date already, for whoever asks next.
        self._pages[query] = (read_at, changes, page)
        self._pages.move_to_end(query)
        while len(self._pages) > PAGES_MAX:
            self._pages.popitem(last=False)
        return page

    def _known(self, query: Query) -> Ready[Page] | None:
        read_at, changes, page = self._pages.get(query, _NOTHING)
        if page is None or changes != self._changes or self._now() - read_at > self._seconds_max:
            return None
        self._pages.move_to_end(query)
        _from_memory.inc()
        return page

    def _kept_for_outages(self, query: Query, error: Exception) -> Ready[Page]:
        raise_if_cancelled()
        read_at, _, page = self._pages.get(query, _NOTHING)
        if page is None or not is_unavailable(error) or self._now() - read_at > AWAY_SECONDS_MAX:
            raise error
        _from_outdated.inc()
        return page

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
