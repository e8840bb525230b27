"""The page beside a live stream: it says that it plays, shows how many do, and opens what is private."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.chromium import PROGRAM, open_page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")

WEB = Path(__file__).parents[3] / "web"
STREAM_ID = "01930000-0000-7000-8000-000000000001"
SIGNATURE = "~1795448078.oxJZpEfEByeLDZxaetX9cB"
INVITATION = "1795448078.an-invitation"
STREAM = {
    "stream_id": STREAM_ID, "channel_id": STREAM_ID, "channel_name": "ada", "title": "First", "category": None,
    "visibility": "private", "status": "live", "started_at": "2026-01-02T03:04:05Z", "ended_at": None,
    "playback_url": None, "viewers": 3, "recording": None,
}  # fmt: skip
PLAYING = """
for (const [name, value] of Object.entries({ paused: false, readyState: 4, currentTime: 12.5 }))
  Object.defineProperty(document.getElementById("video"), name, { value, writable: true });
"""


@dataclass
class Api:
    """What the page asks of streaming, answered from hand."""

    invitations: list[str | None] = field(default_factory=list)
    heartbeats: list[dict[str, Any]] = field(default_factory=list)

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response({"items": [STREAM], "next_cursor": None})

    async def playback(self, request: web.Request) -> web.Response:
        self.invitations.append((await request.json()).get("invitation"))
        url = f"/live/{SIGNATURE}/{STREAM_ID}/index.m3u8"
        return web.json_response({"playback_url": url, "expires_at": None, "stream": STREAM})

    async def heartbeat(self, request: web.Request) -> web.Response:
        self.heartbeats.append(await request.json())
        return web.json_response({"next_seconds": 1, "viewers": 2})


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    """The page and its API behind one origin."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(WEB / "index.html")

    application = web.Application()
    application.add_routes(
        [
            web.get("/api/streams", api.live),
            web.post(f"/api/streams/{STREAM_ID}/playback", api.playback),
            web.post(f"/api/streams/{STREAM_ID}/heartbeat", api.heartbeat),
            web.get("/", index),
            web.static("/", WEB),
        ]
    )
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def test_whoever_is_invited_to_a_private_stream_watches_and_is_counted(tmp_path: Path) -> None:
    api = Api()
    async with served(api) as origin, open_page(tmp_path / "profile") as page:
        await page.call("Page.navigate", url=f"{origin}/")
        await page.until("document.querySelector('#list li')?.innerText.includes('3 watching')")
        await page.call("Page.navigate", url=f"{origin}/#/watch/{STREAM_ID}/{INVITATION}")
        await page.until("document.querySelector('#watch-title').textContent === 'First'")
        assert api.heartbeats == [], "nothing plays yet"
        await page.evaluate(PLAYING)
        await page.until("document.querySelector('#watch-viewers').textContent === '2 viewers'")
    assert set(api.invitations) == {INVITATION}
    assert api.heartbeats[0] == {"position_seconds": 12.5, "signature": SIGNATURE}
