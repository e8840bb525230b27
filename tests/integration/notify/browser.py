"""A headless Chromium that is driven over its DevTools socket, and the page's origin: web/ with notify behind it."""

import asyncio
import itertools
import json
import shutil
from asyncio.subprocess import DEVNULL, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.integration.notify.processes import Person, RunningNotify, eventually

WEB = Path(__file__).parents[3] / "web"
CHROMIUM = shutil.which("chromium")
KEY = "livestream.session"


class Page:
    """One tab."""

    def __init__(self, devtools: aiohttp.ClientWebSocketResponse) -> None:
        self._devtools = devtools
        self._numbers = itertools.count(1)

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401  whatever the script gives
        """What an expression gives; a promise is awaited."""
        options = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = await self.call("Runtime.evaluate", **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        number = next(self._numbers)
        await self._devtools.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(20):
            while (answer := await self._devtools.receive_json()).get("id") != number:
                pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def shows(self, script: str) -> None:
        """Wait until an expression is true."""

        async def is_so() -> bool:
            return bool(await self.evaluate(script))

        await eventually(is_so)

    async def log_in(self, origin: str, person: Person) -> None:
        """Open the page as somebody who is logged in."""
        user = {"user_id": str(person.user_id), "username": person.name}
        session = {"access": person.token, "refresh": "none", "expires": 4e12, "user": user}
        await self.call("Page.navigate", url=f"{origin}/icon.svg")
        await self.shows(f"location.href === {json.dumps(origin + '/icon.svg')} && document.readyState === 'complete'")
        await self.evaluate(f"sessionStorage.setItem({json.dumps(KEY)}, {json.dumps(json.dumps(session))})")
        await self.call("Page.navigate", url=f"{origin}/index.html")
        await self.shows("document.readyState === 'complete' && document.querySelector('#bell')?.hidden === false")


@asynccontextmanager
async def opened_page(profile: Path) -> AsyncIterator[Page]:
    """A tab of a browser of its own, whose profile is kept below a directory."""
    assert CHROMIUM is not None
    process = await create_subprocess_exec(
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        await eventually(lambda: told.exists() and len(told.read_text().splitlines()) == 2, seconds=40)
        port = told.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                [tab, *_] = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as devtools:
                yield Page(devtools)
    finally:
        process.kill()
        await process.wait()


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
