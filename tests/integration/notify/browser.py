"""The page's origin for a browser: web/ with notify behind it, and somebody who is logged in there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.chromium import Page
from tests.integration.notify.processes import Person, RunningNotify

WEB = Path(__file__).parents[3] / "web"
KEY = "livestream.session"


async def log_in(page: Page, origin: str, person: Person) -> None:
    """Open the page as somebody who is logged in."""
    user = {"user_id": str(person.user_id), "username": person.name}
    session = {"access": person.token, "refresh": "none", "expires": 4e12, "user": user}
    await page.call("Page.navigate", url=f"{origin}/icon.svg")
    await page.until(f"location.href === {json.dumps(origin + '/icon.svg')} && document.readyState === 'complete'")
    await page.evaluate(f"sessionStorage.setItem({json.dumps(KEY)}, {json.dumps(json.dumps(session))})")
    await page.call("Page.navigate", url=f"{origin}/index.html")
    await page.until("document.readyState === 'complete' && document.querySelector('#bell')?.hidden === false")


@asynccontextmanager
async def edge(notify: RunningNotify) -> AsyncIterator[str]:
    """The page's origin."""

    async def hand_on(request: web.Request) -> web.StreamResponse:
        if request.path.startswith(("/api/streams", "/api/archives")):
            return web.json_response({"items": [], "next_cursor": None})
        headers = {
            name: request.headers[name]
            for name in ("Authorization", "Content-Type", "Last-Event-ID")
            if name in request.headers
        }
        body = await request.read()
        async with notify.session.request(
            request.method, notify.url + request.raw_path, headers=headers, data=body
        ) as got:
            answer = web.StreamResponse(
                status=got.status, headers={"Content-Type": got.headers.get("Content-Type", "text/plain")}
            )
            await answer.prepare(request)
            async for piece in got.content.iter_any():
                await answer.write(piece)
            return answer

    application = web.Application()
    application.router.add_route("*", "/api/{rest:.*}", hand_on)
    application.router.add_static("/", WEB)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
