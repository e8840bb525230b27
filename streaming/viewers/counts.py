"""Counts viewers in Redis, over any number of processes: who watches now, how many different ones, the most at once.

A stream has two keys, and one for each address that watches it, all of one slot of a cluster and all with an end. A
viewer is in its stream's list from a heartbeat that counts until it has missed two; whoever repeats a cookie is the
same entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final
from uuid import UUID

from runtime.redis_batches import RedisAway, RedisBatches, Script

HELD_MS: Final = 50_000
"""A heartbeat holds so long: two may be missed, and a little for the way."""
SUMS_SECONDS: Final = 12 * 3_600
"""Peak and different viewers are kept in Redis so long after the last heartbeat; Postgres has them minute by minute."""
ANSWER_SECONDS_MAX: Final = 1.0
"""Nobody sees a player wait for its heartbeat. While Redis is known to be away, nothing waits."""
TOO_MANY_OF_ADDRESS: Final = -1


@dataclass(frozen=True, slots=True)
class Count:
    """Of one stream."""

    viewers: int
    """Who watches now."""
    unique_viewers: int
    """Different ones since it began."""
    peak_viewers: int
    """The most at once."""


class ViewerCounts:
    """What Redis knows of viewers. Every method raises RedisAway."""

    def __init__(
        self, batches: RedisBatches, *, viewers_of_address_max: int, answer_seconds_max: float = ANSWER_SECONDS_MAX
    ) -> None:
        self._batches = batches
        self._viewers_of_address_max = viewers_of_address_max
        self._answer_seconds_max = answer_seconds_max
        scripts = resources.files("streaming.viewers")
        self._watch = Script.of(scripts.joinpath("watch.lua").read_text())
        self._count = Script.of(scripts.joinpath("count.lua").read_text())

    async def watch(self, stream_id: UUID, viewer_id: bytes, address: str, *, is_new: bool) -> int | None:
        """Count one heartbeat; how many watch now, or None: the address has too many viewers, this is not counted."""
        keys = [*_keys(stream_id), f"viewers:{{{stream_id}}}:of:{address}"]
        counted: int = await self._ask(
            self._watch, keys, [viewer_id, HELD_MS, self._viewers_of_address_max, int(is_new), SUMS_SECONDS]
        )
        return None if counted == TOO_MANY_OF_ADDRESS else counted

    async def count(self, stream_id: UUID) -> Count:
        """How many watch a stream."""
        return Count(*await self._ask(self._count, _keys(stream_id), [HELD_MS]))

    async def count_on(self, stream_id: UUID, kept: Count) -> Count:
        """The same, for sums that go on from those that were kept, should Redis have been emptied."""
        arguments = [HELD_MS, kept.unique_viewers, kept.peak_viewers, SUMS_SECONDS]
        return Count(*await self._ask(self._count, _keys(stream_id), arguments))

    async def _ask(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401  Lua answers anything
        if self._batches.resting:
            raise RedisAway("Redis was away a moment ago")
        return await self._batches.ask(script, keys, arguments, seconds_max=self._answer_seconds_max)


def sums(counts: Mapping[UUID, Count]) -> tuple[list[UUID], list[int], list[int], list[int]]:
    """Columns for a statement: stream ids, viewers, different viewers, peaks."""
    return (
        list(counts),
        [count.viewers for count in counts.values()],
        [count.unique_viewers for count in counts.values()],
        [count.peak_viewers for count in counts.values()],
    )


def _keys(stream_id: UUID) -> list[str]:
    return [f"viewers:{{{stream_id}}}:now", f"viewers:{{{stream_id}}}:sums"]
