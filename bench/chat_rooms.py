"""500 rooms of 20 readers with a message a second each: no two messages share a frame, so this is the cost of rooms.

The readers are on the measured server. The senders are on another one of the same kind beside the sink, so that
messages come over Redis, as they mostly do where there are many rooms; the peer has Redis, too.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bench.chat_scene import OTHER_CORE, Crowd, Load, Scene, Server, loaded, open_scene, spread
from bench.report import Bar, Bench, Outcome, Say

ROOMS: Final = 500
READERS_A_ROOM: Final = 20
RUN_SECONDS: Final = 6.0
ROUNDS: Final = 3


async def measure(directory: Path, say: Say) -> Outcome:
    """In turns with the peer."""
    ours: list[Load] = []
    theirs: list[Load] = []
    async with open_scene(directory, say, rooms=ROOMS) as scene:
        for _ in range(ROUNDS):
            for loads, is_peer in ((ours, False), (theirs, True)):
                loads.append(await _run(scene, is_peer=is_peer))
                whose = "centrifuge" if is_peer else "ours"
                say(f"{whose}: {loads[-1].cpu_us:.2f} µs a delivery, p99 {loads[-1].told['p99_ms']:.0f} ms")
    figures = {"rooms": float(ROOMS), "readers_a_room": float(READERS_A_ROOM), **_figures(ours)}
    peers = {f"centrifuge_{name}": value for name, value in _figures(theirs).items()}
    figures["cpu_to_centrifuge_ratio"] = round(figures["cpu_us"] / peers["centrifuge_cpu_us"], 3)
    return Outcome(figures, processes=1, cpu_seconds=round(sum(load.cpu_seconds for load in ours), 2), peers=peers)


async def _run(scene: Scene, *, is_peer: bool) -> Load:
    crowd = Crowd(readers=ROOMS * READERS_A_ROOM, senders=ROOMS, rooms=scene.rooms)
    async with (
        _pair(scene, is_peer=is_peer) as (server, other),
        scene.sink(crowd, [server.port], other.port, is_peer=is_peer) as sink,
    ):
        await sink.join()
        await sink.run(ROOMS, 1)
        return await loaded(sink, [server], ROOMS, RUN_SECONDS, server_gets_senders=False)


@contextlib.asynccontextmanager
async def _pair(scene: Scene, *, is_peer: bool) -> AsyncIterator[tuple[Server, Server]]:
    if is_peer:
        async with scene.peer(with_redis=True) as server, scene.peer(with_redis=True, core=OTHER_CORE) as other:
            yield server, other
    else:
        async with scene.gateway() as server, scene.gateway(core=OTHER_CORE) as other:
            yield server, other


def _figures(loads: list[Load]) -> dict[str, float]:
    return {
        **spread("cpu_us", [load.cpu_us for load in loads]),
        **spread("p99_ms", [load.told["p99_ms"] for load in loads], 1),
    }


BENCH = Bench(
    name="chat_rooms",
    description="500 rooms of 20 at a message a second each, which come over Redis: cost and lateness of a delivery.",
    bars=[Bar("cpu_to_centrifuge_ratio", "<=", 0.7)],
    measure=measure,
)
