"""The live list over processes and HTTP: dropped everywhere by a change, by age without Redis; tags; bad queries."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from runtime.openapi import openapi_document
from runtime.pages import PageQuery, encode_cursor
from runtime.queries import Executor
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings
from streaming.reads.livelist import LiveList
from streaming.reads.signals import LiveListSignals
from streaming.streams.api import Streams
from streaming.streams.views import LiveStreamsPage
from tests.contract.held_client import HeldClient
from tests.integration.runtime.freezable import FreezableWay
from tests.integration.streaming.studio import Studio

PROMPT_SECONDS_MAX = 5.0
"""For a busy machine; what is not told is seen after `seconds_max` of the list, far more."""
SILENCE_SECONDS_MAX = 2.5
"""More than a busy machine lets Redis be silent; a loss that nobody meant would be a change."""


async def until(happened: Callable[[], Awaitable[bool]], *, what: str) -> None:
    async with asyncio.timeout(PROMPT_SECONDS_MAX + 10):
        while True:
            if await happened():
                return
            await asyncio.sleep(0.02)
    pytest.fail(what)


class Process:
    """One process's live list, of a table that is a number, with its signals."""

    def __init__(self, redis: Redis, channel: str, *, silence_seconds_max: float = 5.0) -> None:
        self.reads = 0
        self.live_list: LiveList[PageQuery, LiveStreamsPage] = LiveList(
            self._read, primary=_NOWHERE, replicas=_NOWHERE, seconds_max=600
        )
        self.signals = LiveListSignals(redis, self.live_list, channel=channel, silence_seconds_max=silence_seconds_max)

    async def _read(self, _database: Executor, _query: PageQuery) -> LiveStreamsPage:
        self.reads += 1
        return LiveStreamsPage(items=[], next_cursor=str(self.reads))

    async def shown(self) -> int:
        """How often the list had been read when what is shown was."""
        page = LiveStreamsPage.model_validate_json((await self.live_list.page(PageQuery())).body)
        return int(page.next_cursor or 0)

    async def shows_again(self, than: int) -> None:
        """Wait until it shows something newer."""

        async def newer() -> bool:
            return await self.shown() > than

        await until(newer, what="the change was not heard")


class _Nowhere:
    """A database that is never asked."""

    fetch = fetchrow = fetchval = execute = executemany = None


_NOWHERE: Executor = _Nowhere()  # type: ignore[assignment]  # what reads is the test's


@asynccontextmanager
async def running(*signals: LiveListSignals) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in signals]
    try:
        async with asyncio.timeout(PROMPT_SECONDS_MAX):
            for one in signals:
                await one.heard.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_change_in_one_process_shows_in_all_and_a_lost_redis_heals(redis_url: str, redis_prefix: str) -> None:
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(FreezableWay(redis_url).opened())
        clients = [redis_client(RedisSettings(redis_url=SecretStr(url))) for url in (redis_url, way.url)]
        for client in clients:
            stack.push_async_callback(client.aclose)
        channel = f"{redis_prefix}live-list"
        here, there = (
            Process(clients[0], channel),
            Process(clients[1], channel, silence_seconds_max=SILENCE_SECONDS_MAX),
        )
        async with running(here.signals, there.signals):
            shown, own = await there.shown(), await here.shown()
            here.live_list.forget()
            await there.shows_again(shown)
            assert await here.shown() == own + 1
            assert await there.shown() == shown + 1, "a change is one change"
            way.freeze()
            await _unheard(there.signals)
            here.live_list.forget()  # nobody is told
            kept = await there.shown()
            await there.shown()
            assert await there.shown() == kept, "without Redis a page is forgotten by its age alone"
            way.thaw()
            await there.shows_again(kept)


async def _unheard(signals: LiveListSignals) -> None:
    async def is_unheard() -> bool:
        return not signals.heard.is_set()

    await until(is_unheard, what="the silence was not noticed")


def _held(studio: Studio) -> HeldClient:
    return HeldClient(studio.client, openapi_document("under test", [Streams]))


async def test_the_list_has_a_tag_and_is_sent_again_only_when_it_has_changed(studio: Studio) -> None:
    held = _held(studio)
    for number in range(8):
        _, key = await studio.channel(f"channel {number}")
        await studio.publish(key, number)
    first = await held.get("/api/streams", headers={"Accept-Encoding": "identity"})
    assert first.headers["Cache-Control"].startswith("public, max-age=1, stale-while-revalidate=")
    again = await held.get("/api/streams", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")
    zipped = await held.get("/api/streams", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.body == first.body == json.loads(gzip.decompress(gzip.compress(first.content)))
    await studio.gone(key, 7)
    changed = await held.get("/api/streams", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status, changed.body["items"][0]["status"]) == (200, "interrupted")


FORGED = encode_cursor("2026-01-01T00:00:00+00:00", uuid4())


# Query, and the status or statuses of its answer. One test, since each has a database of its own.
BAD_AND_GOOD_QUERIES: list[tuple[dict[str, str] | list[tuple[str, str]], tuple[int, ...]]] = [
    ({"limit": "1"}, (200,)),
    ({"limit": "100"}, (200,)),
    ({"limit": "0"}, (422,)),
    ({"limit": "101"}, (422,)),
    ({"limit": "-1"}, (422,)),
    ({"limit": "x"}, (422,)),
    ({"limit": ""}, (422,)),
    ({"limit": "1.5"}, (422,)),
    ({"limit": "9" * 400}, (422,)),
    ({"limit": "٥"}, (200, 422)),
    ({"limit": "5\x00"}, (422,)),
    ([("limit", "1"), ("limit", "2")], (422,)),
    ({"cursor": FORGED}, (200,)),
    ({"cursor": ""}, (400,)),
    ({"cursor": "nonsense"}, (400,)),
    ({"cursor": FORGED[:-3]}, (400,)),
    ({"cursor": encode_cursor("2026-01-01T00:00:00", uuid4())}, (400,)),
    ({"cursor": encode_cursor("2026-01-01T00:00:00+00:00", "x")}, (400,)),
    ({"cursor": encode_cursor("2026-01-01T00:00:00+00:00")}, (400,)),
    ({"cursor": encode_cursor("0001-01-01T00:00:00+23:59", uuid4())}, (200, 400)),
    ({"cursor": encode_cursor("9999-12-31T23:59:59-23:59", uuid4())}, (200, 400)),
    ({"cursor": "☃" * 100}, (400,)),
    ({"cursor": "\u202e\ud7ff"}, (400,)),
    ({"cursor": "A" * 513}, (422,)),
    ({"cursor": "a\x00b"}, (422,)),
    ({"unknown": "x"}, (200,)),
]


async def test_a_bad_query_is_refused_by_name_and_kept_by_nobody(studio: Studio) -> None:
    held = _held(studio)
    for query, statuses in BAD_AND_GOOD_QUERIES:
        answer = await held.get("/api/streams", params=query)
        assert answer.status in statuses, (query, answer.body)
        if answer.status != 200:
            assert answer.headers["Cache-Control"] == "no-store", query
