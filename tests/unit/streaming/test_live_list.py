"""The live list's memory: fresh enough, made once, and never a page from before a change."""

import asyncio
from typing import Any, cast

import pytest
from asyncpg import InterfaceError
from pydantic import BaseModel

from runtime.pages import PageQuery
from runtime.queries import Executor
from runtime.ready import Ready
from streaming.reads.livelist import PAGES_MAX, LiveList

FIRST = PageQuery()
PRIMARY = cast("Executor", "primary")
REPLICAS = cast("Executor", "replicas")


class Numbered(BaseModel):
    """A page that says which one it is."""

    number: int
    read_from: str


class Source:
    """Makes pages, numbered, and can be held up while making one."""

    def __init__(self) -> None:
        self.made = 0
        self.free = asyncio.Event()
        self.free.set()
        self.asked = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, database: Executor, _query: PageQuery) -> Numbered:
        if self.error is not None:
            raise self.error
        self.made += 1
        self.asked.set()
        page = Numbered(number=self.made, read_from=cast("str", database))
        await self.free.wait()
        return page

    def pages(self, *, seconds_max: float = 60) -> LiveList[PageQuery, Numbered]:
        return LiveList(self.read, primary=PRIMARY, replicas=REPLICAS, seconds_max=seconds_max)


def number(ready: Ready[Numbered]) -> int:
    return Numbered.model_validate_json(ready.body).number


async def test_a_page_is_made_once_while_it_is_fresh_and_stays_the_same_object() -> None:
    pages = Source().pages()
    assert len({id(await pages.page(PageQuery())) for _ in range(5)}) == 1


async def test_many_at_once_make_it_once() -> None:
    source = Source()
    pages = source.pages()
    await asyncio.gather(*(pages.page(FIRST) for _ in range(100)))
    assert source.made == 1


async def test_one_slow_page_holds_up_no_other() -> None:
    source = Source()
    pages = source.pages()
    await pages.page(PageQuery(limit=7))
    source.free.clear()
    slow = asyncio.create_task(pages.page(FIRST))
    await asyncio.wait_for(source.asked.wait(), 10)
    assert number(await asyncio.wait_for(pages.page(PageQuery(limit=7)), 10)) == 1
    source.free.set()
    await slow


async def test_who_gives_up_while_making_it_leaves_the_work_to_the_next() -> None:
    source = Source()
    pages = source.pages()
    source.free.clear()
    first = asyncio.create_task(pages.page(FIRST))
    await source.asked.wait()
    second = asyncio.create_task(pages.page(FIRST))
    await asyncio.sleep(0)
    first.cancel()
    source.free.set()
    assert number(await asyncio.wait_for(second, 10)) == 2


async def test_an_old_page_is_made_again() -> None:
    source = Source()
    pages = source.pages(seconds_max=0)
    await pages.page(FIRST)
    await asyncio.sleep(0.001)
    await pages.page(FIRST)
    assert source.made == 2


async def test_a_change_forgets_and_is_told_and_a_heard_one_is_not_told_again() -> None:
    source = Source()
    pages = source.pages()
    await pages.page(FIRST)
    pages.drop()
    assert number(await pages.page(FIRST)) == 2
    assert not pages.changed.is_set()
    pages.forget()
    assert number(await pages.page(FIRST)) == 3
    assert pages.changed.is_set()


async def test_a_page_read_before_a_change_is_not_kept_after_it() -> None:
    source = Source()
    pages = source.pages()
    source.free.clear()
    reading = asyncio.create_task(pages.page(FIRST))
    await source.asked.wait()
    pages.drop()
    source.free.set()
    await reading
    assert number(await pages.page(FIRST)) == 2


async def test_it_keeps_a_bounded_number_of_pages_and_those_that_are_asked_for() -> None:
    source = Source()
    pages = source.pages()
    await pages.page(PageQuery(limit=100))
    for asked in range(1, 2 * PAGES_MAX):
        await pages.page(PageQuery(limit=1 + asked % 99, cursor=None))
        await pages.page(PageQuery(limit=100))
    kept: dict[Any, Any] = vars(pages)["_pages"]
    assert len(kept) == PAGES_MAX
    assert number(await pages.page(PageQuery(limit=100))) == 1


async def test_later_pages_may_come_from_a_replica_and_are_not_kept() -> None:
    source = Source()
    pages = source.pages()
    read_from = [
        Numbered.model_validate_json((await pages.page(query)).body).read_from
        for query in (FIRST, PageQuery(cursor="x"), PageQuery(cursor="x"))
    ]
    assert read_from == ["primary", "replicas", "replicas"]
    assert source.made == 3


async def test_without_the_database_an_old_page_is_shown_and_a_mistake_is_not_hidden() -> None:
    source = Source()
    pages = source.pages()
    await pages.page(FIRST)
    pages.forget()
    source.error = ConnectionRefusedError("no database")
    assert number(await pages.page(FIRST)) == 1
    with pytest.raises(ConnectionRefusedError):
        await pages.page(PageQuery(limit=3))
    source.error = InterfaceError("a usage error")
    with pytest.raises(InterfaceError):
        await pages.page(FIRST)
    source.error = None
    assert number(await pages.page(FIRST)) == 2
