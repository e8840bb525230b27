"""How a process starts and ends, on real child processes with real signals."""

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHECKOUT = Path(__file__).parents[3]
SECRET = "hush-hush-hush"
DEADLINE_SECONDS = 40.0


@dataclass
class Child:
    """A running child; `lines` are the log lines read so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, event: str) -> dict[str, Any]:
        """Wait for a log line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while line := await self.process.stdout.readline():
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"ended without saying {event}: {self.lines}")

    async def ends(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            output, _ = await self.process.communicate()
        self.lines += [json.loads(line) for line in output.splitlines()]
        assert SECRET not in json.dumps(self.lines)
        return self.process.returncode if self.process.returncode is not None else -1

    def logged(self, level: str) -> list[str]:
        """The events of a level."""
        return [line["event"] for line in self.lines if line["level"] == level]


Start = Callable[..., Awaitable[Child]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts children, and kills what is left of them."""
    children: list[Child] = []

    async def started(behaviour: str = "steady", **variables: str) -> Child:
        settings = {
            "LIVESTREAM_CHAT_SECRET": SECRET,
            "LIVESTREAM_CHAT_BEHAVIOUR": behaviour,
            "LIVESTREAM_HTTP_PORT": "0",
            "LIVESTREAM_STOP_GRACE_SECONDS": "20",
            **variables,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.unit.runtime.child",
            cwd=CHECKOUT,
            env=clean | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        children.append(Child(process))
        return children[-1]

    yield started
    for child in children:
        if child.process.returncode is None:
            with suppress(ProcessLookupError):
                child.process.kill()
            await child.process.communicate()


async def test_sigterm_stops_everything_and_exits_0(start: Start) -> None:
    child = await start(LIVESTREAM_STOP_GRACE_SECONDS="60")
    await child.says("child_ready")
    child.process.send_signal(signal.SIGTERM)
    assert await child.ends() == 0  # within the grace
    assert child.logged("error") == []
    assert "process_stopped" in child.logged("info")


async def test_sigterm_lets_the_request_under_way_finish(start: Start) -> None:
    child = await start()
    port = (await child.says("http_listening"))["port"]
    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(session.get(f"http://127.0.0.1:{port}/slow"))
        await child.says("slow_request_started")
        child.process.send_signal(signal.SIGTERM)
        answer = await asking
        assert (answer.status, await answer.text()) == (200, "done")
    assert await child.ends() == 0


async def test_a_failing_service_stops_the_process_with_one_error_line_that_names_it(start: Start) -> None:
    child = await start("fails")
    assert await child.ends() == 1
    errors = [line for line in child.lines if line["level"] == "error"]
    assert [(line["event"], line["failed_service"]) for line in errors] == [("service_failed", "behaving")]
    assert "it broke" in errors[0]["reason"]
    assert "exception" in errors[0], "the traceback is on the line"


async def test_a_returning_service_stops_the_process(start: Start) -> None:
    child = await start("returns")
    assert await child.ends() == 1
    assert child.logged("error") == ["service_failed"]


async def test_who_swallows_cancellation_is_killed_after_the_grace_with_2(start: Start) -> None:
    child = await start("swallows", LIVESTREAM_STOP_GRACE_SECONDS="1.5")
    await child.says("child_ready")
    began = time.monotonic()
    child.process.send_signal(signal.SIGTERM)
    assert await child.ends() == 2
    assert time.monotonic() - began > 1.4
    (line,) = [line for line in child.lines if line["level"] == "error"]
    assert (line["event"], line["services"]) == ("services_stuck", ["behaving"])


async def test_a_leaked_task_that_swallows_cancellation_cannot_keep_the_process(start: Start) -> None:
    child = await start("leaks", LIVESTREAM_STOP_GRACE_SECONDS="1.5")
    await child.says("leaked")
    await child.says("child_ready")
    child.process.send_signal(signal.SIGTERM)
    assert await child.ends() == 2
    assert child.logged("error") == ["process_stuck"]


async def test_nor_can_it_when_nobody_asked_and_a_service_failed(start: Start) -> None:
    child = await start("leaks and fails", LIVESTREAM_STOP_GRACE_SECONDS="1.5")
    assert await child.ends() == 2
    assert child.logged("error") == ["service_failed", "process_stuck"]


async def test_a_second_signal_ends_at_once(start: Start) -> None:
    child = await start("swallows", LIVESTREAM_STOP_GRACE_SECONDS="60")
    await child.says("child_ready")
    child.process.send_signal(signal.SIGTERM)
    await child.says("process_stopping")
    child.process.send_signal(signal.SIGINT)
    assert await child.ends() == 2


async def test_wrong_settings_are_told_one_line_each_without_their_values(start: Start) -> None:
    child = await start(
        LIVESTREAM_HTTP_PORT="70000",
        LIVESTREAM_CHAT_SECRET="tiny",
        LIVESTREAM_CHAT_BEHAVIOR="steady",
        LIVESTREAM_STOP_GRACE_SECONDS="soon",
    )
    output, complaint = await child.process.communicate()
    assert (child.process.returncode, output) == (1, b"")
    lines = complaint.decode().splitlines()
    assert lines == [
        "child: LIVESTREAM_CHAT_BEHAVIOR: unknown variable (did you mean LIVESTREAM_CHAT_BEHAVIOUR?)",
        "child: LIVESTREAM_STOP_GRACE_SECONDS: Input should be a valid number, unable to parse string as a number",
        "child: LIVESTREAM_HTTP_PORT: Input should be less than or equal to 65535",
        "child: LIVESTREAM_CHAT_SECRET: Value should have at least 8 items after validation, not 4",
    ]
    assert "tiny" not in complaint.decode()


async def test_a_process_may_open_as_many_files_as_the_system_lets_it(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))  # what a shell gives to its children
    try:
        child = await start()
        await child.says("child_ready")
        assert resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
