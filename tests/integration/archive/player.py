"""Something for a browser to play: a page, hls.js, and what is in a store on a disk, behind one origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.chromium import PROGRAM

HLS_JS = Path(__file__).parents[3] / "web/vendor/hls.min.js"

NEEDED = [
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not HLS_JS.exists(), reason="hls.js is not installed (make setup does)"),
]


@asynccontextmanager
async def served(objects: Path, html: str) -> AsyncIterator[str]:
    """The origin: ``html`` at ``/``, hls.js at ``/hls.js``, the objects below ``/recordings``."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    async def script(_: web.Request) -> web.FileResponse:
        return web.FileResponse(HLS_JS)

    application = web.Application()
    application.add_routes([web.get("/", page), web.get("/hls.js", script), web.static("/recordings", objects)])
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
