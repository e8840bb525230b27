"""The engine watch: whatever dies is started again, by itself, ever more slowly, and never given up."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import pytest

from console.engine_watch import EngineWatch
from deploy.local.errors import StackError


class Engines:
    """A twin of the stack: engines that a test kills, and that refuse to start as often as it says."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.refusals: dict[str, int] = defaultdict(int)
        self.started: list[tuple[str, float]] = []
        self.gate = threading.Event()
        self.gate.set()

    def runs(self, part: str) -> bool:
        return part not in self.dead

    def start(self, part: str) -> None:
        self.gate.wait(10)
        self.started.append((part, time.monotonic()))
        if self.refusals[part]:
            self.refusals[part] -= 1
            raise StackError(f"{part} does not want to")
        self.dead.discard(part)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  the twin changes in threads, which set no event of the loop
            await asyncio.sleep(0.005)


def watch_of(engines: Engines, *names: str) -> EngineWatch:
    return EngineWatch(engines, names, look_seconds=0.01, restart_first_seconds=0.02, restart_ceiling_seconds=0.1)


async def stopped(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_died_is_started_again_and_the_others_are_left_alone() -> None:
    engines = Engines()
    task = asyncio.create_task(watch_of(engines, "postgres", "redis").run())
    engines.dead.add("redis")
    await until(lambda: engines.started != [])
    engines.dead.add("redis")
    await until(lambda: len(engines.started) == 2)
    assert {name for name, _ in engines.started} == {"redis"}
    await stopped(task)


async def test_one_that_does_not_come_back_is_tried_ever_more_slowly_and_never_given_up() -> None:
    engines = Engines()
    engines.dead.add("nginx")
    engines.refusals["nginx"] = 12
    task = asyncio.create_task(watch_of(engines, "nginx").run())
    await until(lambda: "nginx" not in engines.dead)
    moments = [moment for _, moment in engines.started]
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert len(moments) == 13
    assert all(wait >= 0.08 for wait in waits[4:]), "each is twice as long, less a fifth at the most"
    assert waits[-1] < 20, "the wait has a ceiling: without one it is a minute or more"
    await stopped(task)


async def test_one_that_hangs_while_starting_holds_up_neither_the_others_nor_the_end() -> None:
    engines = Engines()
    engines.gate.clear()
    engines.dead.add("postgres")
    task = asyncio.create_task(watch_of(engines, "postgres", "redis").run())
    engines.dead.add("redis")
    await asyncio.sleep(0.1)
    before = time.monotonic()
    await stopped(task)
    assert time.monotonic() - before < 5, "it hangs for ten"
    engines.gate.set()


async def test_with_nothing_to_watch_it_runs_until_it_is_stopped() -> None:
    task = asyncio.create_task(watch_of(Engines()).run())
    await asyncio.sleep(0.05)
    assert not task.done()
    await stopped(task)
