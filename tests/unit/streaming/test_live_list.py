"""The live list's memory: fresh enough, made once, and never a page from before a change."""

import asyncio

from streaming.reads.livelist import PAGES_MAX, LiveList, PageKey

FIRST: PageKey = (50, None)


class Source:
    """Makes pages, numbered, and can be held up while making one."""

    def __init__(self) -> None:
        self.made = 0
        self.free = asyncio.Event()
        self.free.set()
        self.asked = asyncio.Event()

    async def make(self, key: PageKey) -> str:
        self.made += 1
        self.asked.set()
        page = f"{key} {self.made}"
        await self.free.wait()
        return page


async def test_a_page_is_made_once_while_it_is_fresh() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=60)
    assert {await pages.page(FIRST) for _ in range(5)} == {"(50, None) 1"}


async def test_many_at_once_make_it_once() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=60)
    await asyncio.gather(*(pages.page(FIRST) for _ in range(100)))
    assert source.made == 1


async def test_an_old_page_is_made_again() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=0)
    await pages.page(FIRST)
    await asyncio.sleep(0.001)
    await pages.page(FIRST)
    assert source.made == 2


async def test_a_change_forgets() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=60)
    await pages.page(FIRST)
    pages.forget()
    assert await pages.page(FIRST) == "(50, None) 2"


async def test_a_page_read_before_a_change_is_not_kept_after_it() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=60)
    source.free.clear()
    reading = asyncio.create_task(pages.page(FIRST))
    await source.asked.wait()
    pages.forget()
    source.free.set()
    await reading
    assert await pages.page(FIRST) == "(50, None) 2"


async def test_it_keeps_a_bounded_number_of_pages() -> None:
    source = Source()
    pages = LiveList(source.make, seconds_max=60)
    for number in range(PAGES_MAX + 1):
        await pages.page((50, str(number)))
    await pages.page((50, "1"))
    assert source.made == PAGES_MAX + 1
    await pages.page((50, "0"))
    assert source.made == PAGES_MAX + 2
