"""Readiness: named checks that a process registers, each answering or saying why not."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[None]] | Callable[[], None]

CHECK_TIMEOUT_SECONDS = 2.0


class Health:
    """The checks of one process. A check raises when unready; its text is the reason that `/readyz` shows."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def watch(self, name: str, check: Check) -> None:
        """Ask `check` at every readiness probe; a second watch of the same name is a mistake (ValueError)."""
        if name in self._checks:
            raise ValueError(f"health check {name!r} is already watched")
        self._checks[name] = check

    def within(self, part: str) -> "Health":
        """The same checks under names that begin with ``part``: for one of several services in a process."""
        return _PartOfHealth(self, part)

    async def reasons(self) -> dict[str, str | None]:
        """Every check by name with None (ready) or why it is not; all are asked at once, each for 2 s at most."""
        names = list(self._checks)
        outcomes = await asyncio.gather(*(_ask(self._checks[name]) for name in names), return_exceptions=True)
        return {name: _reason(outcome) for name, outcome in zip(names, outcomes, strict=True)}


class _PartOfHealth(Health):
    """Registers with the whole under a prefix."""

    def __init__(self, whole: Health, part: str) -> None:
        super().__init__()
        self._whole = whole
        self._part = part

    def watch(self, name: str, check: Check) -> None:
        """See ``Health.watch``."""
        super().watch(name, check)
        self._whole.watch(f"{self._part}-{name}", check)


async def _ask(check: Check) -> None:
    async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
        answer = check()
        if inspect.isawaitable(answer):
            await answer


def _reason(outcome: BaseException | None) -> str | None:
    if outcome is None:
        return None
    if isinstance(outcome, TimeoutError) and not str(outcome):
        return f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
    return str(outcome) or type(outcome).__name__
