"""5,000 clients lose their connections at once, miss messages, and come back with their positions.

Every one must get exactly what it missed, and the messages after that: the clients check that offsets count up by one.
"""

from pathlib import Path
from typing import Final

from bench.chat_scene import Crowd, open_scene
from bench.report import Bar, Bench, Outcome, Say

READERS: Final = 5_000
RATE: Final = 10
BEFORE_SECONDS: Final = 2.0
AWAY_SECONDS: Final = 3.0
AFTER_SECONDS: Final = 2.0


async def measure(directory: Path, say: Say) -> Outcome:
    """One storm."""
    async with (
        open_scene(directory, say, with_peer=False) as scene,
        scene.gateway() as server,
        scene.sink(Crowd(readers=READERS), [server.port], server.port) as sink,
    ):
        await sink.join()
        await sink.run(RATE, BEFORE_SECONDS)
        await sink.drop()
        missed = (await sink.run(RATE, AWAY_SECONDS))["sent"]
        cpu = server.cpu_seconds()
        back = await sink.rejoin()
        cpu = server.cpu_seconds() - cpu
        say(f"{back['recovered']:g} of {READERS} recovered {missed:g} messages each in {back['seconds']:.1f} s")
        after = await sink.run(RATE, AFTER_SECONDS)
    figures = {
        "clients": float(READERS),
        "missed_messages": missed,
        "rejoin_seconds": back["seconds"],
        "recovered": back["recovered"],
        "not_recovered": back["not_recovered"],
        "holes": back["holes"] + after["holes"],
        "doubles": back["doubles"] + after["doubles"],
        "incomplete_after": after["incomplete"],
    }
    return Outcome(figures, processes=1, cpu_seconds=round(cpu, 2))


BENCH = Bench(
    name="chat_storm",
    description="5,000 clients reconnect at once with their positions: until all have what they missed, and no hole.",
    bars=[
        Bar("rejoin_seconds", "<=", 10),
        Bar("recovered", ">=", READERS),
        Bar("holes", "<=", 0),
        Bar("doubles", "<=", 0),
        Bar("incomplete_after", "<=", 0),
    ],
    measure=measure,
)
