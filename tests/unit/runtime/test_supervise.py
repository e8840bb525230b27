"""Services of one process: the first that fails stops all, a cancellation stops all, and stuck ones are named."""

import asyncio

import pytest

from runtime.supervise import ServiceFailed, ServicesStuck, supervise


class Steady:
    """Runs until cancelled; `stopped` tells that it was."""

    def __init__(self, name: str = "steady", started: asyncio.Event | None = None) -> None:
        self.name = name
        self.started = started or asyncio.Event()
        self.stopped = False

    async def run(self) -> None:
        """Work."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


class Failing:
    """Raises, or returns, as soon as another service runs."""

    name = "failing"

    def __init__(self, after: asyncio.Event, error: Exception | None) -> None:
        self.after = after
        self.error = error

    async def run(self) -> None:
        """Fail."""
        await self.after.wait()
        if self.error is not None:
            raise self.error


class Stubborn(Steady):
    """Swallows its cancellation until released."""

    def __init__(self) -> None:
        super().__init__("stubborn")
        self.release = asyncio.Event()

    async def run(self) -> None:
        """Ignore being asked to stop."""
        self.started.set()
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue


async def test_the_first_that_raises_stops_all_and_is_named() -> None:
    steady = Steady()
    error = LookupError("nothing there")
    with pytest.raises(ServiceFailed, match="failing raised LookupError: nothing there") as raised:
        await supervise([steady, Failing(steady.started, error)], stop_grace_seconds=1)
    assert raised.value.service == "failing"
    assert raised.value.__cause__ is error
    assert steady.stopped


async def test_returning_is_a_failure_too() -> None:
    steady = Steady()
    with pytest.raises(ServiceFailed, match="failing returned although nobody asked"):
        await supervise([steady, Failing(steady.started, None)], stop_grace_seconds=1)
    assert steady.stopped


async def test_cancellation_stops_all_and_goes_on() -> None:
    services = [Steady("a"), Steady("b")]
    task = asyncio.create_task(supervise(services, stop_grace_seconds=1))
    for service in services:
        await service.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(service.stopped for service in services)


@pytest.mark.parametrize("endless", [False, True])
async def test_a_farewell_is_said_while_everything_still_runs_and_within_the_grace(endless: bool) -> None:
    service, said = Steady(), list[bool]()

    async def farewell() -> None:
        said.append(service.stopped)
        if endless:
            await asyncio.Event().wait()

    task = asyncio.create_task(supervise([service], stop_grace_seconds=0.05, farewell=farewell))
    await service.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (said, service.stopped) == ([False], True)


async def test_who_swallows_the_cancellation_is_named_after_the_grace() -> None:
    stubborn, steady = Stubborn(), Steady()
    task = asyncio.create_task(supervise([stubborn, steady], stop_grace_seconds=0.05))
    await stubborn.started.wait()
    task.cancel()
    with pytest.raises(ServicesStuck, match=r"0\.05 s .*: stubborn$") as raised:
        await task
    assert raised.value.services == ("stubborn",)
    assert steady.stopped
    stubborn.release.set()
    await asyncio.sleep(0)


async def test_an_error_while_stopping_is_not_lost() -> None:
    class FailsAtTheEnd(Steady):
        async def run(self) -> None:
            try:
                await super().run()
            finally:
                raise OSError("could not flush")

    service = FailsAtTheEnd("flusher")
    task = asyncio.create_task(supervise([service], stop_grace_seconds=1))
    await service.started.wait()
    task.cancel()
    with pytest.raises(ServiceFailed, match="flusher raised OSError: could not flush"):
        await task


async def test_no_service_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one service"):
        await supervise([], stop_grace_seconds=1)
