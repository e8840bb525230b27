"""The page of a recording in a real browser: its pictures, a copy to take home, and what its owner may do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from archive.downloads.kind import Downloads
from archive.downloads.part import downloads
from archive.library.api import ArchiveApi
from archive.library.part import library
from archive.pictures.pictures import plan_pictures
from archive.pictures.poster import Posters
from archive.pictures.storyboard import Storyboards
from runtime.http_server import HttpServer
from runtime.settings import HttpSettings
from tests.chromium import PROGRAM, Page, open_page
from tests.integration.archive.callers import ADA, BOB, Person, Tokens
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House
from tests.integration.archive.playing import Recorded, parts, playing, worked

WEB = Path(__file__).parents[3] / "web"
SESSION_KEY = "livestream.session"
NASTY = "<img src=x onerror=document.title='owned'> & <b>chess</b>"

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")]


@asynccontextmanager
async def origin_of(house: House, tmp_path: Path) -> AsyncIterator[str]:
    """The page, the archive's API and the recordings, as the edge has them behind one origin."""
    made = parts(house)
    path = made.settings.archive_playback_path
    apis = [ArchiveApi(house.recordings, playback_path=path), *library(made).apis, *downloads(made).apis]
    application = await HttpServer(apis, settings=HttpSettings(), verifier=Tokens()).application()
    application.router.add_static(path, tmp_path / "objects")
    application.router.add_static("/", WEB)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def visit(page: Page, origin: str, stream_id: UUID, person: Person | None) -> None:
    """Open the recording's page, as somebody or as nobody."""
    await page.call("Page.navigate", url=f"{origin}/icon.svg")
    await page.until(f"location.href === {json.dumps(origin + '/icon.svg')} && document.readyState === 'complete'")
    if person is None:
        await page.evaluate("sessionStorage.clear()")
    else:
        user = {"user_id": str(person.user_id), "username": person.name}
        session = json.dumps({"access": person.token, "refresh": "none", "expires": 4e12, "user": user})
        await page.evaluate(f"sessionStorage.setItem({json.dumps(SESSION_KEY)}, {json.dumps(session)})")
    await page.call("Page.navigate", url=f"{origin}/index.html#/recording/{stream_id}")
    await page.until("document.querySelector('#recording')?.hidden === false")


async def click(page: Page, selector: str) -> None:
    await page.evaluate(f"document.querySelector('{selector}').click()")


async def text_is(page: Page, selector: str, expected: str) -> None:
    await page.until(f"document.querySelector('{selector}').textContent.includes({json.dumps(expected)})")


async def test_the_owner_edits_deletes_and_restores(house: House, small_clip: Clip, tmp_path: Path) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    async with origin_of(house, tmp_path) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, stream_id, ADA)
        assert await page.evaluate("document.querySelector('#recording-owner').hidden") is False
        # At once: a page that is drawn again in between would show what is saved.
        filled = (
            f"form.title.value = {json.dumps(NASTY)}; form.visibility.value = 'private'; form.preserve.checked = true"
        )
        sent = "form.querySelector('[type=submit]').click()"
        await page.evaluate(f"(() => {{ const form = document.querySelector('#recording-form'); {filled}; {sent} }})()")
        await text_is(page, "#watch-title", "<b>chess</b>")
        assert await page.evaluate("document.querySelectorAll('#watch-title b, #watch-title img').length") == 0
        recording = await house.recording(stream_id)
        assert (recording.title, recording.visibility, recording.preserve) == (NASTY, "private", True)
        await click(page, "#recording-delete")
        await text_is(page, "#recording-note", "It can be restored until")
        assert (await house.recording(stream_id)).deleted_at is not None
        assert await page.evaluate("document.querySelector('#download').hidden") is True
        await click(page, "#recording-delete")
        await page.until("document.querySelector('#recording-delete').textContent === 'Delete'")
        assert (await house.recording(stream_id)).deleted_at is None


async def test_the_owners_browser_is_let_in_to_a_private_recording(
    house: House, small_clip: Clip, tmp_path: Path
) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    await house.pool.execute("update recordings set visibility = 'private'")
    async with origin_of(house, tmp_path) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, stream_id, ADA)
        await page.until("performance.getEntries().some((one) => one.name.endsWith('/master.m3u8'))")
        cookies = (await page.call("Network.getAllCookies"))["cookies"]
    assert [(one["path"], one["httpOnly"]) for one in cookies] == [(f"/recordings/{stream_id}/", True)]
    assert await house.pool.fetchval("select count(*) from playback_grants") == 1


async def test_a_stranger_sees_pictures_and_takes_a_copy(house: House, small_clip: Clip, tmp_path: Path) -> None:
    stream_id = await playing(house, Recorded().add(small_clip))
    async with house.pool.acquire() as connection, connection.transaction():
        await plan_pictures(connection, stream_id, duration_ms=4_000)
    await worked(house, stream_id, Posters(parts(house)), Storyboards(parts(house)))
    async with origin_of(house, tmp_path) as origin, open_page(tmp_path / "profile") as page:
        await visit(page, origin, stream_id, BOB)
        assert await page.evaluate("document.querySelector('#recording-owner').hidden") is True
        await page.until("document.querySelectorAll('#storyboard canvas').length > 0")
        drawn = "[...document.querySelector('#storyboard canvas').getContext('2d').getImageData(0, 0, 9, 9).data]"
        await page.until(f"{drawn}.some((value, at) => at % 4 !== 3 && value > 0)")
        await click(page, "#download")
        await text_is(page, "#recording-note", "Making the file")
        await worked(house, stream_id, Downloads(parts(house)))
        await page.until("location.pathname.includes('/download/')")
        await visit(page, origin, stream_id, None)
        # The list shows the poster, and nobody needs to be logged in for it.
        await page.evaluate("location.hash = '#/recordings'")
        await page.until("document.querySelector('#list .poster')?.naturalWidth > 0")
