"""A notify process of a bench's own, with the settings that it wants."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import create_subprocess_exec
from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp
import psutil

from deploy.local import Stack
from deploy.local.places import CHECKOUT

READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.1


@contextlib.asynccontextmanager
async def running_notify(stack: Stack, settings: Mapping[str, str]) -> AsyncIterator[psutil.Process]:
    """Start it on the stack's port for notify and wait until it is ready; stop it on leaving."""
    port = stack.ports["notify"]
    with stack.log("notify").open("ab") as log:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "notify"),
            cwd=CHECKOUT,
            env={**os.environ, **stack.environment(), "LIVESTREAM_HTTP_PORT": str(port), **settings},
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(READY_SECONDS_MAX), aiohttp.ClientSession() as session:
            await _ready(session, f"http://127.0.0.1:{port}/readyz")
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(POLL_SECONDS)
