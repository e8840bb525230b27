"""How soon 10,000 clients are in one room of one gateway, a tenth of them logged in, and what each takes."""

import asyncio
from pathlib import Path
from typing import Final

from bench.chat_scene import Crowd, Scene, Server, open_scene
from bench.report import Bar, Bench, Outcome, Say

READERS: Final = 10_000
SETTLE_SECONDS: Final = 3.0


async def measure(directory: Path, say: Say) -> Outcome:
    """Ours and the peer once."""
    async with open_scene(directory, say) as scene:
        async with scene.gateway() as server:
            ours = await _join(scene, server)
            used = server.cpu_seconds()
        async with scene.peer() as server:
            theirs = await _join(scene, server, is_peer=True)
    figures = {"clients": float(READERS), **ours}
    peers = {f"centrifuge_{name}": value for name, value in theirs.items()}
    return Outcome(figures, processes=1, cpu_seconds=round(used, 2), peers=peers)


async def _join(scene: Scene, server: Server, *, is_peer: bool = False) -> dict[str, float]:
    crowd = Crowd(readers=READERS, senders=1)
    memory, cpu = server.memory_bytes(), server.cpu_seconds()
    async with scene.sink(crowd, [server.port], server.port, is_peer=is_peer) as sink:
        joined = await sink.join()
        cpu = server.cpu_seconds() - cpu
        await asyncio.sleep(SETTLE_SECONDS)
        memory = server.memory_bytes() - memory
    return {
        "join_seconds": joined["seconds"],
        "join_cpu_ms_a_client": round(cpu * 1_000 / READERS, 3),
        "memory_kib_a_socket": round(memory / 1_024 / READERS, 2),
    }


BENCH = Bench(
    name="chat_memory",
    description="10,000 clients join one room: seconds until all are in, memory for each.",
    bars=[Bar("join_seconds", "<=", 15), Bar("memory_kib_a_socket", "<=", 20)],
    measure=measure,
)
