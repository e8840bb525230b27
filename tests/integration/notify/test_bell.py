"""The page's bell in a real browser: what was missed, what comes, reading it, and following from the page."""

import json
from pathlib import Path

import pytest

from eventbus.bus_memory import MemoryBus
from runtime.postgres import Pool
from tests.chromium import PROGRAM, Page, open_page
from tests.integration.notify.browser import edge, log_in
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import Person, eventually, fanout_is_complete, say, seed, started

ADA, BOB = Person("ada"), Person("bob")
NASTY = "<img src=x onerror=document.title='owned'> & <b>chess</b>"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


async def counts(page: Page, count: str) -> None:
    await page.until(f"document.querySelector('#bell-count').textContent === {json.dumps(count)}")


async def test_the_bell_shows_what_was_missed_what_comes_and_what_was_read(
    start_notify: StartNotify, bus: MemoryBus, pool: Pool, tmp_path: Path
) -> None:
    await seed(pool, ADA, [BOB.user_id])
    notify = await start_notify()
    before, meanwhile, last = started(ADA), started(ADA, title=NASTY), started(ADA)
    await say(bus, before)
    await eventually(lambda: fanout_is_complete(pool, before.stream_id))
    async with edge(notify) as origin, open_page(tmp_path) as page:
        await log_in(page, origin, BOB)
        await counts(page, "1")
        await say(bus, meanwhile)
        await counts(page, "2")
        titles = "[...document.querySelectorAll('#bell-list li a')].map((link) => link.children[1].textContent)"
        assert await page.evaluate(titles) == [NASTY, "chess"]
        assert await page.evaluate("document.querySelectorAll('#bell-list img, #bell-list b').length") == 0
        assert NASTY in await page.evaluate("document.querySelector('#bell-news').textContent")
        await eventually(lambda: fanout_is_complete(pool, meanwhile.stream_id))
        await page.evaluate("document.querySelector('#bell-button').click()")
        assert not await page.evaluate("document.querySelector('#bell-panel').hidden")
        await page.evaluate("document.querySelector('#bell-list a').click()")
        await counts(page, "1")
        assert await page.evaluate("location.hash") == f"#/watch/{meanwhile.stream_id}"
        await page.evaluate("document.querySelector('#bell-read-all').click()")
        await counts(page, "")
        assert await notify.call("GET", "/api/notifications/unread", BOB) == (200, {"unread": 0, "more": False})
        await say(bus, last)
        await counts(page, "1")
        assert await page.evaluate("performance.getEntries().some((one) => one.name.includes('/bob'))") is False


async def test_a_channel_is_followed_muted_and_left_from_its_page(
    start_notify: StartNotify, pool: Pool, tmp_path: Path
) -> None:
    await seed(pool, ADA, [])
    notify = await start_notify()
    async with edge(notify) as origin, open_page(tmp_path) as page:
        await log_in(page, origin, BOB)
        await page.evaluate(f"import('/js/follow_box.js').then((box) => box.show('{ADA.user_id}'))")
        await page.until("document.querySelector('#follow-button').textContent === 'Follow'")
        await page.evaluate("document.querySelector('#follow-button').click()")
        await page.until("document.querySelector('#follow-button').textContent === 'Following'")
        await page.evaluate("document.querySelector('#follow-mute').click()")
        await page.until("document.querySelector('#follow-mute').textContent === 'Unmute'")
        status, follow = await notify.call("GET", f"/api/follows/{ADA.user_id}", BOB)
        assert (status, follow["muted"]) == (200, True)
        await page.evaluate("document.querySelector('#follow-button').click()")
        await page.until("document.querySelector('#follow-button').textContent === 'Follow'")
        assert (await notify.call("GET", f"/api/follows/{ADA.user_id}", BOB))[0] == 404
