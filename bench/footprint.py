"""What the profile solo takes while nobody is there: memory, processor, processes, threads, connections.

The one process and the whole stack with it (Postgres, Redis, nginx), started fresh and left alone for a moment. Memory
is counted twice: RSS, which has every page that a process can touch, and PSS, which shares out the pages that several
have in common. Only PSS can be added up: Postgres' processes share their buffers, nginx's their program. The bar of our
process is on the larger one, RSS.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil
from pydantic import SecretStr

from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from runtime.postgres import connect

PORT_BASE: Final = 21_000
SETTLE_SECONDS: Final = 10
IDLE_SECONDS: Final = 20
MEGABYTE: Final = 1_000_000

_CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


async def measure(directory: Path, say: Say) -> Outcome:
    """Start the stack below `directory`, leave it alone, look at it, stop it again."""
    stack = Stack(directory, profile="solo", port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, stack.parts, say=say)
    try:
        say(f"idle: {SETTLE_SECONDS} s to settle, {IDLE_SECONDS} s to measure")
        await asyncio.sleep(SETTLE_SECONDS)
        ours = _with_children([stack.pid("solo")])
        everybody = _with_children([stack.pid(part) for part in stack.parts])
        before = _cpu_seconds(ours), _cpu_seconds(everybody)
        await asyncio.sleep(IDLE_SECONDS)
        used = _cpu_seconds(ours) - before[0], _cpu_seconds(everybody) - before[1]
        figures = {
            **_memory("solo", ours),
            **_memory("stack", everybody),
            "solo_cpu_percent": round(used[0] / IDLE_SECONDS * 100, 2),
            "stack_cpu_percent": round(used[1] / IDLE_SECONDS * 100, 2),
            "solo_threads": float(sum(process.num_threads() for process in ours)),
            "stack_processes": float(len(everybody)),
            "postgres_connections": float(await _connections(stack)),
        }
        return Outcome(figures, len(ours), round(used[0], 2))
    finally:
        await asyncio.to_thread(stack.down)


def _with_children(pids: Sequence[int]) -> list[psutil.Process]:
    roots = [psutil.Process(pid) for pid in pids]
    return [one for root in roots for one in (root, *root.children(recursive=True))]


def _memory(name: str, processes: Sequence[psutil.Process]) -> dict[str, float]:
    rss = sum(process.memory_info().rss for process in processes)
    pss = sum(process.memory_full_info().pss for process in processes)
    return {f"{name}_pss_mb": round(pss / MEGABYTE, 1), f"{name}_rss_mb": round(rss / MEGABYTE, 1)}


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(time_used.user + time_used.system for time_used in times)


async def _connections(stack: Stack) -> int:
    connection = await connect(SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"]), schema="public")
    try:
        return int(await connection.fetchval(_CLIENTS))
    finally:
        await connection.close()


BENCH = Bench(
    name="footprint",
    description="What solo takes while idle: memory of our one process and of the whole stack, CPU, connections.",
    bars=[Bar("solo_rss_mb", "<=", 200), Bar("stack_pss_mb", "<=", 400)],
    measure=measure,
)
