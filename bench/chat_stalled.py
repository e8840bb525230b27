"""A tenth of 2,000 clients never reads: what that costs the others, and memory of ours and of the kernel.

The room is busy enough (100 messages a second) that they pass their bound and are cut while it is measured.
"""

import asyncio
import resource
from pathlib import Path
from typing import Final

import aiohttp

from bench.chat_scene import Crowd, Load, Scene, Server, loaded, open_scene
from bench.report import Bar, Bench, Outcome, Say

READERS: Final = 2_000
STALLED_PERCENT: Final = 10
STALLED: Final = READERS * STALLED_PERCENT // 100
RATE: Final = 100
RUN_SECONDS: Final = 20.0
PEER_DELAY_MS: Final = 100
SAMPLE_SECONDS: Final = 0.25
MIB: Final = 1 << 20
PAGE_BYTES: Final = resource.getpagesize()


async def measure(directory: Path, say: Say) -> Outcome:
    """Ours without and with stalled clients, then the peer with them."""
    async with open_scene(directory, say) as scene:
        async with scene.gateway() as server:
            plain = (await _run(scene, server, 0))[0]
            used = server.cpu_seconds()
        async with scene.gateway() as server:
            load, most = await _run(scene, server, STALLED_PERCENT)
            cut = await _cut(server)
            used += server.cpu_seconds()
        async with scene.peer(delay_ms=PEER_DELAY_MS) as server:
            theirs, theirs_most = await _run(scene, server, STALLED_PERCENT, is_peer=True)
    figures = {
        "readers": float(READERS - STALLED),
        "stalled": float(STALLED),
        "cut": cut,
        "all_reading_p99_ms": plain.told["p99_ms"],
        "stalled_p99_ms": load.told["p99_ms"],
        "stalled_p99_ratio": round(load.told["p99_ms"] / plain.told["p99_ms"], 2),
        **most,
    }
    peers = {"centrifuge_delayed_stalled_p99_ms": theirs.told["p99_ms"]}
    peers |= {f"centrifuge_delayed_{name}": value for name, value in theirs_most.items()}
    return Outcome(figures, processes=1, cpu_seconds=round(used, 2), peers=peers)


async def _run(
    scene: Scene, server: Server, stalled_percent: int, *, is_peer: bool = False
) -> tuple[Load, dict[str, float]]:
    crowd = Crowd(readers=READERS, stalled_percent=stalled_percent)
    async with scene.sink(crowd, [server.port], server.port, is_peer=is_peer) as sink:
        await sink.join()
        before, kernel_before = server.memory_bytes(), kernel_bytes()
        running = asyncio.create_task(loaded(sink, [server], RATE, RUN_SECONDS))
        most = kernel_most = 0
        while not running.done():
            await asyncio.wait({running}, timeout=SAMPLE_SECONDS)
            most = max(most, server.memory_bytes() - before)
            kernel_most = max(kernel_most, kernel_bytes() - kernel_before)
        return running.result(), {
            "process_growth_mib": round(most / MIB, 1),
            "kernel_growth_mib": round(kernel_most / MIB, 1),
            "kernel_growth_after_mib": round((kernel_bytes() - kernel_before) / MIB, 1),
        }


def kernel_bytes() -> int:
    """What all TCP sockets of the machine hold, buffers of the clients too: in pages (proc(5), /proc/net/sockstat)."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("mem") + 1]) * PAGE_BYTES
    raise RuntimeError("/proc/net/sockstat has no line for TCP")


async def _cut(server: Server) -> float:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/metrics") as answer,
    ):
        for line in (await answer.text()).splitlines():
            if line.startswith("livestream_chat_slow_clients_cut_total"):
                return float(line.split()[1])
    return 0.0


BENCH = Bench(
    name="chat_stalled",
    description="A tenth of 2,000 clients never reads: the others' lateness, and memory of ours and of the kernel.",
    bars=[
        Bar("stalled_p99_ratio", "<=", 1.5),
        Bar("cut", ">=", STALLED),
        Bar("process_growth_mib", "<=", 100),
        Bar("kernel_growth_mib", "<=", 100),
    ],
    measure=measure,
)
