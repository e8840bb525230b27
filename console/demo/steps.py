"""Steps of a story: each is announced, timed, and verified or told by what was expected and what was seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")

POLL_SECONDS = 0.01


class StepFailed(Exception):
    """A step did not come true. ``step`` names it; the text says what was expected and what was seen."""

    def __init__(self, expected: str, seen: object) -> None:
        super().__init__(f"expected {expected}, saw {seen}")
        self.step: str | None = None


class Steps:
    """Announces steps on a console, live where it is a terminal and as plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[list[str]]:
        """One step; the list takes remarks that are shown behind its title. A StepFailed learns its step's title."""
        began = time.monotonic()
        remarks: list[str] = []
        try:
            with self._console.status(title):
                yield remarks
        except StepFailed as failure:
            failure.step = failure.step or title
            self._console.print(f"[red]✗[/red] {title}: {failure}", soft_wrap=True)
            raise
        elapsed = time.monotonic() - began
        note = f" [dim]{'; '.join(remarks)}[/dim]" if remarks else ""
        self._console.print(f"[green]✓[/green] {title} [dim]{elapsed:.1f} s[/dim]{note}", soft_wrap=True)


def check(holds: bool, expected: str, seen: object) -> None:
    """Raise StepFailed unless it holds."""
    if not holds:
        raise StepFailed(expected, seen)


async def eventually(
    what: str, look: Callable[[], Awaitable[T]], accept: Callable[[T], bool], *, within_seconds: float
) -> T:
    """Look again and again until what is seen is accepted; StepFailed with the last sight when the time is over."""
    deadline = time.monotonic() + within_seconds
    while True:
        seen = await look()
        if accept(seen):
            return seen
        if time.monotonic() > deadline:
            raise StepFailed(f"{what} within {within_seconds:g} s", seen)
        await asyncio.sleep(POLL_SECONDS)
