"""What a second gateway costs in time: one room of 5,000 on one gateway, then spread over two that Redis connects.

Both run on the measured core, so that the clients have theirs to themselves in both cases.
"""

from pathlib import Path
from typing import Final

from bench.chat_scene import Crowd, Load, Scene, Server, loaded, open_scene, spread
from bench.report import Bar, Bench, Outcome, Say

READERS: Final = 5_000
RATE: Final = 10
RUN_SECONDS: Final = 6.0
ROUNDS: Final = 3


async def measure(directory: Path, say: Say) -> Outcome:
    """In turns."""
    one: list[Load] = []
    two: list[Load] = []
    async with open_scene(directory, say, with_peer=False) as scene:
        for _ in range(ROUNDS):
            async with scene.gateway() as first:
                one.append(await _run(scene, first))
            async with scene.gateway() as first, scene.gateway() as second:
                two.append(await _run(scene, first, second))
            say(f"p99 {one[-1].told['p99_ms']:.0f} ms on one, {two[-1].told['p99_ms']:.0f} ms on two")
    figures = {
        "clients": float(READERS),
        **spread("one_p99_ms", [load.told["p99_ms"] for load in one], 1),
        **spread("two_p99_ms", [load.told["p99_ms"] for load in two], 1),
        **spread("two_cpu_us", [load.cpu_us for load in two]),
    }
    figures["two_minus_one_p99_ms"] = round(figures["two_p99_ms"] - figures["one_p99_ms"], 1)
    return Outcome(figures, processes=2, cpu_seconds=round(sum(load.cpu_seconds for load in two), 2))


async def _run(scene: Scene, *servers: Server) -> Load:
    async with scene.sink(Crowd(readers=READERS), [server.port for server in servers], servers[0].port) as sink:
        await sink.join()
        await sink.run(RATE, 1)
        return await loaded(sink, servers, RATE, RUN_SECONDS)


BENCH = Bench(
    name="chat_gateways",
    description="A room of 5,000 on one gateway and over two: how much later the 99th percentile hears.",
    bars=[Bar("two_minus_one_p99_ms", "<=", 30)],
    measure=measure,
)
