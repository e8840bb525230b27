"""Runs the services of one process together: the first that fails stops all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from runtime.service import Service


class SupervisionError(Exception):
    """Base of what `supervise` raises.

    SupervisionError
    ├── ServiceFailed   one service raised, or returned although nobody asked
    └── ServicesStuck   services ignored their cancellation for the whole grace period
    """


class ServiceFailed(SupervisionError):
    """A service ended on its own. `service` names it; the cause, if it raised, is `__cause__`."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"service {service} {reason}")
        self.service = service
        self.reason = reason


class ServicesStuck(SupervisionError):
    """Services that were cancelled and did not end in time. `services` names them."""

    def __init__(self, services: Sequence[str], stop_grace_seconds: float) -> None:
        super().__init__(f"still running {stop_grace_seconds:g} s after being asked to stop: {', '.join(services)}")
        self.services = tuple(services)
        self.stop_grace_seconds = stop_grace_seconds


async def supervise(
    services: Sequence[Service],
    *,
    stop_grace_seconds: float,
    farewell: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run `services` until cancelled (then all are cancelled, and the cancellation goes on) or until the first ends.

    ``farewell`` is what to do between the two when asked to stop, while everything still works; it has the grace too.

    Raises ServiceFailed when a service raises or returns, ServicesStuck when one swallows its cancellation.
    """
    tasks = {asyncio.create_task(service.run(), name=service.name): service for service in services}
    if not tasks:
        raise ValueError("a process needs at least one service")
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        try:
            if farewell is not None:
                await _within(stop_grace_seconds, farewell)
        finally:
            await _stop(tasks, stop_grace_seconds)
        _raise_first_failure(tasks, asked=True)
        raise
    first = min(ended, key=list(tasks).index)  # several may end in one turn of the loop: the order given decides
    await _stop(tasks, stop_grace_seconds)
    _raise_first_failure({first: tasks[first]}, asked=False)


async def _within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work()
    except TimeoutError:
        return  # the services are stopped all the same


async def _stop(tasks: Mapping["asyncio.Task[None]", Service], stop_grace_seconds: float) -> None:
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=stop_grace_seconds)
    if pending:
        raise ServicesStuck([tasks[task].name for task in pending], stop_grace_seconds)


def _raise_first_failure(tasks: Mapping["asyncio.Task[None]", Service], *, asked: bool) -> None:
    for task, service in tasks.items():
        if task.cancelled():
            if not asked:
                raise ServiceFailed(service.name, "cancelled itself")
            continue
        cause = task.exception()
        if cause is not None:
            raise ServiceFailed(service.name, f"raised {type(cause).__name__}: {cause}") from cause
        if not asked:
            raise ServiceFailed(service.name, "returned although nobody asked it to stop")
