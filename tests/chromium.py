"""Debian's Chromium without a window, driven by its own protocol over one WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium")
CALL_SECONDS_MAX = 45.0
START_SECONDS_MAX = 30.0
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    "--remote-debugging-port=0",
)


@dataclass
class Page:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    session_id: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def read(self) -> None:
        """Take what Chromium says until it ends."""
        async for message in self.socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self.events.append(said)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A method of the DevTools protocol; AssertionError when it is refused."""
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self.session_id is not None:
            message["sessionId"] = self.session_id
        await self.socket.send_json(message)
        said = await asyncio.wait_for(answer, CALL_SECONDS_MAX)
        assert "error" not in said, (method, said)
        result: dict[str, Any] = said["result"]
        return result

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401  whatever the page has there
        """What JavaScript gives, promises awaited, as if somebody had clicked."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for JavaScript to give something true."""
        deadline = time.monotonic() + CALL_SECONDS_MAX
        while not await self.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            await asyncio.sleep(0.05)

    def said(self, method: str) -> list[dict[str, Any]]:
        """The events of a kind so far."""
        return [event["params"] for event in self.events if event["method"] == method]


@asynccontextmanager
async def open_page(profile: Path) -> AsyncIterator[Page]:
    """A tab of a Chromium with an empty profile."""
    assert PROGRAM is not None
    child = await asyncio.create_subprocess_exec(
        PROGRAM, *OPTIONS, f"--user-data-dir={profile}", "about:blank", stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            address = await _address(child)
        draining = asyncio.create_task(_drain(child))
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=2**24) as socket:
            page = Page(socket)
            reading = asyncio.create_task(page.read())
            target = await page.call("Target.createTarget", url="about:blank")
            attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session_id = attached["sessionId"]
            yield page
            reading.cancel()
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    await asyncio.wait({draining, reading})


async def _address(child: Process) -> str:
    assert child.stderr is not None
    while line := (await child.stderr.readline()).decode():
        if line.startswith("DevTools listening on "):
            return line.split()[-1]
    raise AssertionError("Chromium ended before it listened")


async def _drain(child: Process) -> None:
    assert child.stderr is not None
    while await child.stderr.readline():
        pass
