"""Answers kept in this process alone: for tests."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from runtime.idempotency import KEPT_KEYS_PER_USER_MAX, KEPT_SECONDS, RUNNING_SECONDS_MAX, Attempt, Kept


@dataclass
class _Entry:
    request: str
    owner: str | None
    began: float
    answer: bytes | None = None


class MemoryRepeats:
    """A dictionary for each user, oldest first."""

    def __init__(
        self,
        *,
        running_seconds_max: float = RUNNING_SECONDS_MAX,
        keys_per_user_max: int = KEPT_KEYS_PER_USER_MAX,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._running_seconds_max = running_seconds_max
        self._keys_per_user_max = keys_per_user_max
        self._clock = clock
        self._users: dict[str, dict[str, _Entry]] = {}

    async def begin(self, attempt: Attempt) -> Kept | None:
        """What is kept under the attempt's name; None if the work is this attempt's now."""
        now, mine = self._clock(), self._users.setdefault(attempt.user, {})
        for name in [name for name, entry in mine.items() if entry.began <= now - KEPT_SECONDS]:
            del mine[name]
        entry = mine.get(attempt.name)
        if entry is not None and entry.owner != attempt.owner:
            return Kept(entry.request, entry.began + self._running_seconds_max < now, entry.answer)
        if entry is None:
            while len(mine) >= self._keys_per_user_max:
                del mine[next(iter(mine))]
            mine[attempt.name] = _Entry(attempt.request, attempt.owner, now)
        return None

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        """Keep the answer of the work that this attempt began."""
        entry = self._users.get(attempt.user, {}).get(attempt.name)
        if entry is not None and entry.owner == attempt.owner:
            entry.answer, entry.owner = answer, None

    async def forget(self, attempt: Attempt) -> None:
        """The work that this attempt began has failed and may be tried again."""
        entry = self._users.get(attempt.user, {}).get(attempt.name)
        if entry is not None and entry.owner == attempt.owner:
            del self._users[attempt.user][attempt.name]
