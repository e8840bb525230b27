"""How fast followers are told: 100,000 and 1,000,000 of them, with nobody connected, on a durable Postgres.

The clock of a fan-out starts when the commit that says `stream.started` has returned and ends when its last inbox row
is written, by the database's clock; relay, Kafka, admission and all pages are in between. What plain SQL takes for
the same rows, one `INSERT … SELECT … ON CONFLICT DO NOTHING`, is measured in the same run, by turns. So is the start
of streams (hook to answer, as in the bench stream_start) with and without fan-outs that run all the time: on two cores
they share what there is, and the figure says how.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

from bench.fanout_scene import PARTS, Scene, Told, open_scene, seed
from bench.report import Bar, Bench, Outcome, Say, percentile
from bench.stream_start_hooks import make_channels, send_hooks
from deploy.local import Stack
from runtime.ids import uuid7

PORT_BASE: Final = 21_000
LARGE: Final = 100_000
HUGE: Final = 1_000_000
ROUNDS: Final = 5
"""Of the fan-out and of plain SQL by turns; the first of them warms up and does not count."""
HOOK_ROUNDS: Final = 3
"""With and without fan-outs by turns."""
HOOKS: Final = 400
"""In a round; they come at 50 a second."""
MEGABYTE: Final = 1_000_000

_PLAIN = """
    INSERT INTO notices (user_id, notice_id) SELECT follower_id, $1 FROM follows WHERE channel_id = $2
    ON CONFLICT DO NOTHING
"""


async def measure(directory: Path, say: Say) -> Outcome:
    """Start what is needed below `directory`, measure, stop it again."""
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, PARTS, say=say)
    large, huge = uuid7(), uuid7()
    try:
        async with open_scene(stack) as scene:
            await seed(scene.pool, {large: LARGE, huge: HUGE}, say)
            async with scene.relaying():
                figures = await _measure_large(scene, large, say)
            await asyncio.to_thread(stack.up, ["streaming"], say=say)
            figures |= await _measure_starts(scene, large, say)
            # last, for the server cleans up behind a million rows for a while
            figures |= await _measure_huge(scene, huge, say)
            return Outcome(figures, processes=1, cpu_seconds=round(scene.cpu_seconds(), 2))
    finally:
        await asyncio.to_thread(stack.down)


async def _measure_large(scene: Scene, channel_id: UUID, say: Say) -> dict[str, float]:
    """Fan-outs and plain SQL by turns."""
    fanouts: list[Told] = []
    plains: list[float] = []
    used: list[float] = []
    for number in range(ROUNDS):
        cpu = scene.cpu_seconds()
        fanouts.append(await scene.told(*await scene.start(channel_id)))
        used.append(scene.cpu_seconds() - cpu)
        plains.append(await _plain(scene, channel_id))
        say(f"round {number}: fan-out {fanouts[-1].since_said_seconds:.3f} s, plain SQL {plains[-1]:.3f} s")
    if any(told.recipients != LARGE for told in fanouts):
        raise RuntimeError("a fan-out did not tell everybody once")
    fanouts, plains = fanouts[1:], plains[1:]
    pages_seconds = median(told.since_begun_seconds for told in fanouts)
    return {
        "large_said_to_stored_seconds": round(median(told.since_said_seconds for told in fanouts), 3),
        "large_said_to_stored_max_seconds": round(max(told.since_said_seconds for told in fanouts), 3),
        "large_recipients_per_second": round(LARGE / pages_seconds),
        "large_notify_cpu_seconds": round(median(used[1:]), 3),
        "plain_sql_rows_per_second": round(LARGE / median(plains)),
        "page_throughput_to_plain_sql_ratio": round(median(plains) / pages_seconds, 3),
    }


async def _plain(scene: Scene, channel_id: UUID) -> float:
    """The same rows in one statement; its seconds, commit included."""
    began = time.perf_counter()
    status = await scene.pool.execute(_PLAIN, uuid7(), channel_id)
    seconds = time.perf_counter() - began
    if status != f"INSERT 0 {LARGE}":
        raise RuntimeError(f"plain SQL answered {status}")
    return seconds


async def _measure_huge(scene: Scene, channel_id: UUID, say: Say) -> dict[str, float]:
    """One fan-out of a million, and what notify's memory grew by meanwhile."""
    before = scene.notify.memory_info().rss
    highest = before
    stream_id, said_at = await scene.start(channel_id)
    telling = asyncio.create_task(scene.told(stream_id, said_at))
    while not telling.done():
        await asyncio.wait([telling], timeout=0.1)
        highest = max(highest, scene.notify.memory_info().rss)
    told = telling.result()
    say(f"{told.recipients:,} followers in {told.since_said_seconds:.2f} s and {told.pages} pages")
    if told.recipients != HUGE:
        raise RuntimeError(f"{told.recipients} of {HUGE} were told")
    return {
        "huge_said_to_stored_seconds": round(told.since_said_seconds, 2),
        "huge_recipients_per_second": round(HUGE / told.since_begun_seconds),
        "huge_notify_rss_before_mb": round(before / MEGABYTE, 1),
        "huge_notify_rss_growth_mb": round((highest - before) / MEGABYTE, 1),
    }


async def _measure_starts(scene: Scene, channel_id: UUID, say: Say) -> dict[str, float]:
    """Hooks with and without fan-outs by turns."""
    keys = await make_channels(scene.stack, HOOKS * (2 * HOOK_ROUNDS + 1))
    turns = [keys[first : first + HOOKS] for first in range(0, len(keys), HOOKS)]
    await send_hooks(scene.stack, turns.pop())
    alone: list[float] = []
    beside: list[float] = []
    fanouts = 0
    while turns:
        alone += await send_hooks(scene.stack, turns.pop())
        seconds, told = await _hooks_beside_fanouts(scene, channel_id, turns.pop())
        beside += seconds
        fanouts += told
        say(f"starts: p99 {_p99_ms(alone):g} ms alone, {_p99_ms(beside):g} ms beside {fanouts} fan-outs")
    return {
        "start_p99_ms": _p99_ms(alone),
        "start_p50_ms": _ms(percentile(alone, 0.5)),
        "start_beside_fanouts_p99_ms": _p99_ms(beside),
        "start_beside_fanouts_p50_ms": _ms(percentile(beside, 0.5)),
        "start_p99_with_to_without_fanouts_ratio": round(percentile(beside, 0.99) / percentile(alone, 0.99), 3),
        "fanouts_beside_starts": float(fanouts),
    }


async def _hooks_beside_fanouts(scene: Scene, channel_id: UUID, keys: Sequence[str]) -> tuple[list[float], int]:
    """Send hooks while one fan-out follows the other."""
    sending = asyncio.create_task(send_hooks(scene.stack, keys))
    fanouts = 0
    while not sending.done():
        await scene.told(*await scene.start(channel_id))
        fanouts += 1
    return sending.result(), fanouts


def _p99_ms(seconds: Sequence[float]) -> float:
    return _ms(percentile(seconds, 0.99))


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)


BENCH = Bench(
    name="fanout",
    description="100,000 and 1,000,000 followers told, beside plain SQL; starts of streams beside fan-outs.",
    bars=[
        Bar("large_said_to_stored_seconds", "<=", 1.5),
        Bar("huge_said_to_stored_seconds", "<=", 20),
        Bar("huge_notify_rss_growth_mb", "<=", 20),
        Bar("page_throughput_to_plain_sql_ratio", ">=", 0.5),
        Bar("start_p99_with_to_without_fanouts_ratio", "<=", 1.1),
    ],
    measure=measure,
)
