"""One room with thousands of readers: what a delivery costs, and how late it is, beside the peer in the same run.

Every message comes over the socket of a client of the measured server. Ours knows who it is, takes the message through
Redis and keeps it; the peer takes it through its own memory. It runs in turns with ours: once as it is, once gathering
for 100 ms, as ours may. Ours has more bytes around the same text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.chat_scene import Crowd, Load, Scene, measured, open_scene, spread
from bench.report import Bar, Bench, Outcome, Say

RUN_SECONDS: Final = 5.0
ROUNDS: Final = 3
PEER_DELAY_MS: Final = 100


@dataclass(frozen=True)
class Shape:
    """So many readers, so many messages a second, and which peers can be asked for that."""

    readers: int
    rate: int
    peers: Sequence[str]
    peer_rounds: int = ROUNDS

    @property
    def name(self) -> str:
        """For figures."""
        return f"{self.readers}x{self.rate}"


SHAPES: Final = (
    Shape(5_000, 10, ("centrifuge", "centrifuge_delayed")),
    Shape(5_000, 100, ("centrifuge", "centrifuge_delayed"), peer_rounds=2),
    Shape(10_000, 100, ("centrifuge_delayed",), peer_rounds=1),  # the other one falls a minute behind
)


async def measure(directory: Path, say: Say) -> Outcome:
    """All shapes, in turns with the peer."""
    figures: dict[str, float] = {"run_seconds": RUN_SECONDS, "rounds": float(ROUNDS)}
    peers: dict[str, float] = {}
    used = 0.0
    async with open_scene(directory, say) as scene:
        for shape in SHAPES:
            loads = await _in_turns(scene, shape, say)
            ours = loads.pop("ours")
            used += sum(load.cpu_seconds for load in ours)
            figures |= _figures(shape.name, ours)
            for peer, theirs in loads.items():
                peers |= _figures(f"{peer}_{shape.name}", theirs)
                ratio = figures[f"{shape.name}_cpu_us"] / peers[f"{peer}_{shape.name}_cpu_us"]
                figures[f"{shape.name}_cpu_to_{peer}_ratio"] = round(ratio, 3)
    return Outcome(figures, processes=1, cpu_seconds=round(used, 2), peers=peers)


async def _in_turns(scene: Scene, shape: Shape, say: Say) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {"ours": [], **{peer: [] for peer in shape.peers}}
    for number in range(ROUNDS):
        for name, of_one in loads.items():
            if name != "ours" and number >= shape.peer_rounds:
                continue
            of_one.append(await _measure_one(scene, shape, name))
            load = of_one[-1]
            say(f"{shape.name} {name}: {load.cpu_us:.2f} µs a delivery, p99 {load.told['p99_ms']:.0f} ms")
    return loads


async def _measure_one(scene: Scene, shape: Shape, name: str) -> Load:
    crowd = Crowd(readers=shape.readers)
    if name == "ours":
        async with scene.gateway() as server:
            load = await measured(scene, server, crowd, shape.rate, RUN_SECONDS)
        if load.told["incomplete"] or load.told["dead"]:
            raise RuntimeError(f"{load.told['incomplete']:g} clients missed something, {load.told['dead']:g} were cut")
        return load
    delay_ms = PEER_DELAY_MS if name == "centrifuge_delayed" else 0
    async with scene.peer(delay_ms=delay_ms) as server:
        return await measured(scene, server, crowd, shape.rate, RUN_SECONDS, is_peer=True)


def _figures(name: str, loads: Sequence[Load]) -> dict[str, float]:
    return {
        **spread(f"{name}_cpu_us", [load.cpu_us for load in loads]),
        **spread(f"{name}_p99_ms", [load.told["p99_ms"] for load in loads], 1),
        f"{name}_p50_ms": spread("p50", [load.told["p50_ms"] for load in loads], 1)["p50"],
        f"{name}_messages_a_frame": round(loads[0].deliveries / max(1.0, loads[0].told["frames"]), 1),
        f"{name}_cut_clients": max(load.told["dead"] for load in loads),
    }


BENCH = Bench(
    name="chat_fanout",
    description="One room, 5,000 and 10,000 readers, 10 and 100 messages a second: cost and lateness of a delivery.",
    bars=[
        Bar("5000x10_cpu_to_centrifuge_ratio", "<=", 0.55),
        Bar("5000x10_cpu_to_centrifuge_delayed_ratio", "<=", 0.75),
        Bar("5000x10_p99_ms", "<=", 60),
        Bar("5000x100_cpu_to_centrifuge_delayed_ratio", "<=", 0.5),
        Bar("5000x100_p99_ms", "<=", 200),
        Bar("10000x100_p99_ms", "<=", 250),
    ],
    measure=measure,
)
