"""``python -m bench [NAME] [--backend NAME] [--json]``: list the benches, or run one.

Exit 0: bars hold; 3: one missed; 2: no such bench, or backend of it.
"""

import argparse
import asyncio
import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from rich.console import Console

from bench import (
    archive_ladder,
    archive_playable,
    archive_shipper,
    bus,
    chat_fanout,
    chat_gateways,
    chat_log,
    chat_memory,
    chat_rooms,
    chat_stalled,
    chat_storm,
    consume,
    deliveries,
    fanout,
    footprint,
    heartbeats,
    limits,
    live,
    live_list,
    login,
    outbox,
    solo_chat,
    stream_start,
    webhooks,
    webpush,
)
from bench.bus_scene import BACKENDS
from bench.report import Bar, Bench, Say, bars_hold, keep, row_of, show
from deploy.local.places import CHECKOUT

DIRECTORY = CHECKOUT / ".local/bench"
MISSED, NO_SUCH = 3, 2

BENCHES = {
    bench.name: bench
    for bench in (
        outbox.BENCH,
        consume.BENCH,
        bus.BENCH,
        footprint.BENCH,
        solo_chat.BENCH,
        chat_fanout.BENCH,
        chat_memory.BENCH,
        chat_stalled.BENCH,
        chat_rooms.BENCH,
        chat_gateways.BENCH,
        chat_storm.BENCH,
        chat_log.BENCH,
        live.BENCH,
        heartbeats.BENCH,
        live_list.BENCH,
        login.BENCH,
        limits.BENCH,
        fanout.BENCH,
        deliveries.BENCH,
        webpush.BENCH,
        webhooks.BENCH,
        archive_playable.BENCH,
        archive_ladder.BENCH,
        archive_shipper.BENCH,
        Bench(
            name="stream_start",
            description="50 starts a second beside 500 streams; a reconnect storm; publish to the last of 20 told.",
            bars=[Bar(figure, "<=", bar) for figure, bar in stream_start.BARS.items()],
            measure=stream_start.measure,
        ),
    )
}


def main() -> int:
    """Run the command line; the answer is the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure what the project promises.")
    parser.add_argument(
        "name", nargs="?", help="the bench to run, or the first word of several; without it, all are listed"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="only with this bus (of the bench bus); may be repeated"
    )
    arguments = parser.parse_args()
    if arguments.name is None:
        _list()
        return 0
    chosen = _chosen(arguments.name)
    if not chosen:
        print(f"no bench {arguments.name!r}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return NO_SUCH
    if arguments.backend:
        if any(bench.of_backends is None for bench in chosen):
            parser.error(f"the bench {arguments.name} has no backends to choose from")
        chosen = [bench.of_backends(arguments.backend) for bench in chosen if bench.of_backends]
    return max([_run(bench, as_json=arguments.json) for bench in chosen])


def _chosen(name: str) -> list[Bench]:
    """The bench with this name, or all of a family: `archive` is every `archive_…`."""
    if name in BENCHES:
        return [BENCHES[name]]
    return [bench for bench in BENCHES.values() if bench.name.startswith(f"{name}_")]


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    """Wait for another bench of this checkout: two at once would measure each other."""
    with (DIRECTORY / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bench is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _list() -> None:
    for bench in BENCHES.values():
        print(f"{bench.name}: {bench.description}")
        for bar in bench.bars:
            print(f"    {bar.figure} {bar.op} {bar.bar:g}")


def _run(bench: Bench, *, as_json: bool) -> int:
    progress = Console(stderr=True, highlight=False)
    DIRECTORY.mkdir(parents=True, exist_ok=True)

    async def work() -> dict[str, object]:
        return row_of(bench, await bench.measure(DIRECTORY / bench.name, progress.print))

    with _alone(progress.print), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        row = runner.run(work())
    kept = keep(row)
    show(bench, row, Console())
    progress.print(f"kept in {kept.relative_to(CHECKOUT)}")
    if as_json:
        print(json.dumps(row))
    return 0 if bars_hold(row) else MISSED


if __name__ == "__main__":
    sys.exit(main())
