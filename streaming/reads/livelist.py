"""Remembers pages of the live list for seconds, and forgets them when a stream starts or ends here.

Other processes of this service forget by age alone, so what a viewer sees is never older than that age.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from streaming import metrics

PAGES_MAX: Final = 64

PageKey = tuple[int, str | None]
"""Limit and cursor."""
Page = TypeVar("Page")


class LiveList(Generic[Page]):
    """Pages of the live list; a page that is missing is made once, however many ask for it at once."""

    def __init__(self, make: Callable[[PageKey], Awaitable[Page]], *, seconds_max: float) -> None:
        self._make = make
        self._seconds_max = seconds_max
        self._pages: OrderedDict[PageKey, tuple[float, Page]] = OrderedDict()
        self._making = asyncio.Lock()
        self._changes = 0

    def forget(self) -> None:
        """The list has changed."""
        self._changes += 1
        self._pages.clear()

    async def page(self, key: PageKey) -> Page:
        """The page, at most `seconds_max` old."""
        if (known := self._known(key)) is not None:
            return known
        async with self._making:
            if (known := self._known(key)) is not None:
                return known
            changes, made_at = self._changes, self._now()
            page = await self._make(key)
            metrics.live_list_answers.labels("database").inc()
            # A change while the page was read may be missing in it: give it to who asked, keep it for nobody.
            if changes == self._changes:
                self._keep(key, made_at, page)
            return page

    def _known(self, key: PageKey) -> Page | None:
        made_at, page = self._pages.get(key, (0.0, None))
        if page is None or self._now() - made_at > self._seconds_max:
            return None
        metrics.live_list_answers.labels("cache").inc()
        return page

    def _keep(self, key: PageKey, made_at: float, page: Page) -> None:
        self._pages[key] = (made_at, page)
        self._pages.move_to_end(key)
        while len(self._pages) > PAGES_MAX:
            self._pages.popitem(last=False)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
