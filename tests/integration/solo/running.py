"""`python -m solo` as a process of the test's own, on a free port, with its log."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from deploy.local.places import CHECKOUT
from tests.integration.streaming.publisher import eventually

READY_SECONDS_MAX = 60.0
ENDED_SECONDS_MAX = 60.0  # also of one that ends while it starts; tests of stopping measure it themselves


@dataclass
class Solo:
    """One run of the process; `port` is known once it listens."""

    process: Process
    log: Path
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; each line is JSON. The last may be there in part."""
        whole = self.log.read_text(errors="replace").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.lines() if line["event"] == event]

    async def listening(self) -> None:
        """Wait until it answers HTTP."""

        async def port() -> int:
            assert self.process.returncode is None, self.log.read_text()[-4_000:]
            return next((line["port"] for line in self.said("http_listening")), 0)

        self.port = await eventually(port, until=bool, seconds_max=READY_SECONDS_MAX, what="nothing listens")

    async def ready(self) -> None:
        """Wait until every part is ready."""
        await self.listening()
        async with aiohttp.ClientSession() as session:

            async def unready() -> dict[str, str]:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz") as answer:
                        checks: dict[str, str] = (await answer.json())["checks"]
                        return {name: reason for name, reason in checks.items() if reason != "ready"}
                return {"http": "no answer"}

            await eventually(unready, until=lambda found: not found, seconds_max=READY_SECONDS_MAX, what="unready")

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()

    async def ended(self) -> int:
        """The exit code, once it has ended."""
        async with asyncio.timeout(ENDED_SECONDS_MAX):
            return await self.process.wait()


def clean_environment() -> dict[str, str]:
    """Ours without settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}


@asynccontextmanager
async def running_solo(settings: Mapping[str, str], log: Path) -> AsyncIterator[Solo]:
    """Start the process; killed on leaving if it still runs."""
    with log.open("wb") as output:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "solo"),
            cwd=CHECKOUT,
            env={**clean_environment(), **settings},
            stdout=output,
            stderr=output,
        )
    try:
        yield Solo(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
