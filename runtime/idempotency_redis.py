"""Answers kept in Redis: one hash for each request, gone after a day; a user has so many at most."""

from collections import deque
from importlib import resources
from typing import Any

from runtime.idempotency import KEPT_KEYS_PER_USER_MAX, KEPT_SECONDS, RUNNING_SECONDS_MAX, Attempt, Kept, RepeatsAway
from runtime.redis_batches import RedisAway, RedisBatches, Script

SECONDS_MAX = 2.0
"""How long a request waits to be begun or kept."""
LATE_MAX = 100


class RedisRepeats:
    """All keys of a user share a hash tag, so a cluster works."""

    def __init__(
        self,
        batches: RedisBatches,
        *,
        running_seconds_max: float = RUNNING_SECONDS_MAX,
        keys_per_user_max: int = KEPT_KEYS_PER_USER_MAX,
    ) -> None:
        self._batches = batches
        self._running_ms = int(running_seconds_max * 1000)
        self._keys_per_user_max = keys_per_user_max
        self._late: deque[Attempt] = deque(maxlen=LATE_MAX)
        self._script = Script.of(resources.files("runtime").joinpath("idempotency.lua").read_text())

    async def begin(self, attempt: Attempt) -> Kept | None:
        """What is kept under the attempt's name; None if the work is this attempt's now. Raises RepeatsAway."""
        await self._undo_late()
        bounds = (self._running_ms, KEPT_SECONDS * 1000, self._keys_per_user_max)
        try:
            found = await self._ask(attempt, "begin", attempt.request, *bounds)
        except RepeatsAway:
            self._late.append(attempt)
            raise
        if found is None:
            return None
        request, abandoned, answer = found
        return Kept(request.decode(), bool(abandoned), answer or None)

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        """Keep the answer of the work that this attempt began; raises RepeatsAway."""
        await self._ask(attempt, "keep", answer)

    async def forget(self, attempt: Attempt) -> None:
        """The work that this attempt began has failed and may be tried again; raises RepeatsAway."""
        await self._ask(attempt, "forget")

    async def _undo_late(self) -> None:
        """Forget what Redis may have begun after nobody waited for it any more: a repetition need not fear it."""
        while self._late:
            late = self._late.popleft()
            try:
                await self._ask(late, "forget")
            except RepeatsAway:
                self._late.append(late)
                raise

    async def _ask(self, attempt: Attempt, verb: str, *arguments: str | bytes | int) -> Any:  # noqa: ANN401  Lua answers anything
        tag = f"repeats:{{{attempt.user}}}:"
        try:
            return await self._batches.ask(
                self._script,
                [f"{tag}{attempt.name}", f"{tag}index"],
                [verb, attempt.name, attempt.owner, *arguments],
                seconds_max=SECONDS_MAX,
            )
        except RedisAway as error:
            raise RepeatsAway(str(error)) from error
