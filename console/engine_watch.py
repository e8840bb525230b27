"""Watches the engines of a server and brings back what has died, each by itself and ever more slowly."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from deploy.local.errors import StackError
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
RESTART_FIRST_SECONDS = 0.5
RESTART_CEILING_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""Whoever has lived so long has recovered: its next death begins with the shortest wait again."""


class Engines(Protocol):
    """What is watched: `deploy.local.Stack`, or a twin in tests."""

    def runs(self, part: str) -> bool:
        """Whether the part's process is alive; cheap."""
        ...

    def start(self, part: str) -> None:
        """Start it and wait until it is healthy; raises StackError."""
        ...


class EngineWatch:
    """A service of the server's process. An engine that does not come back is tried again for as long as we live."""

    name = "engine-watch"

    def __init__(
        self,
        stack: Engines,
        engines: Sequence[str],
        *,
        look_seconds: float = LOOK_SECONDS,
        restart_first_seconds: float = RESTART_FIRST_SECONDS,
        restart_ceiling_seconds: float = RESTART_CEILING_SECONDS,
    ) -> None:
        self._stack = stack
        self._engines = tuple(engines)
        self._look_seconds = look_seconds
        self._restart_seconds = (restart_first_seconds, restart_ceiling_seconds)

    async def run(self) -> None:
        """Look until cancelled."""
        # Threads of its own: the loop's are waited for when it closes, and a start may take a minute.
        pool = ThreadPoolExecutor(max(1, len(self._engines)), thread_name_prefix=self.name)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())  # a server with no engine of its own has nothing to look at
                for engine in self._engines:
                    group.create_task(self._keep_alive(engine, pool))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _keep_alive(self, engine: str, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(*self._restart_seconds)
        since = loop.time()
        while True:
            await asyncio.sleep(self._look_seconds)
            if self._stack.runs(engine):
                continue
            if loop.time() - since > STEADY_SECONDS:
                backoff.reset()
            log.warning("engine_died", engine=engine, deaths=backoff.attempts + 1)
            await backoff.wait()
            try:
                await loop.run_in_executor(pool, self._stack.start, engine)
            except (StackError, OSError) as error:
                log.error("engine_not_restarted", engine=engine, reason=str(error))  # noqa: TRY400  it tells all
            else:
                log.warning("engine_restarted", engine=engine)
            since = loop.time()
