"""A process for tests of `run_process`: `python -m tests.unit.runtime.child BEHAVIOUR`."""

import asyncio
import sys
import time

import structlog
from aiohttp import web
from pydantic import Field, SecretStr

from runtime.endpoints import endpoint
from runtime.http_server import HttpServer
from runtime.process import run_process
from runtime.settings import HttpSettings
from runtime.supervise import supervise

log = structlog.get_logger(__name__)


class ChildSettings(HttpSettings):
    """Settings with a secret."""

    chat_secret: SecretStr = Field(description="A secret.", min_length=8)
    chat_behaviour: str = Field(default="steady", description="What the service does.")


class Behaving:
    """Does what the settings say."""

    name = "behaving"

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    async def run(self) -> None:
        """Behave."""
        log.info("child_ready")
        if self.behaviour in ("fails", "leaks and fails"):
            raise RuntimeError("it broke")
        if self.behaviour == "returns":
            return
        if self.behaviour == "blocks":
            await asyncio.sleep(0.05)
            time.sleep(60)  # noqa: ASYNC251  the fault under test: the loop itself is stuck
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.behaviour != "swallows":
                    raise


class Slow:
    """An API whose answer takes half a second."""

    @endpoint("GET", "/slow")
    async def slow(self, request: web.Request) -> web.Response:
        """Answer late."""
        log.info("slow_request_started")
        await asyncio.sleep(0.5)
        return web.Response(text="done")


async def serve(settings: ChildSettings) -> None:
    """Run the services."""
    server = HttpServer([Slow()], settings=settings)
    if settings.chat_behaviour.startswith("leaks"):
        # A task of nobody's that swallows cancellation: closing the loop would wait for it without end.
        leaked = asyncio.ensure_future(Behaving("swallows").run())
        log.info("leaked", task=leaked.get_name())
    await supervise([server, Behaving(settings.chat_behaviour)], stop_grace_seconds=settings.stop_grace_seconds)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is a TextIOWrapper in a process
    run_process("child", ChildSettings, serve)
