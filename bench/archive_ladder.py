"""How fast the ladder is made: by a worker in chunks, by one ffmpeg for the whole file, by one ffmpeg a rendition.

All three encode the same source with the same filter graph and encoder settings on the same cores, in turns in one run.
The worker is a process as it runs in production: it fetches segments from an S3 store, makes chunks as jobs with one
thread each, stores them and writes the playlists; the others read and write plain files and use as many threads as they
like. Then ten minutes of recording by one worker with one encoder, and by two of them.
"""

import asyncio
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from archive.ladder.ladder import Rendition
from archive.media.ffmpeg import rendition_arguments
from bench.archive_ladder_scene import Scene, Spent, running_scene
from bench.report import Bar, Bench, Outcome, Say

SOURCE_SECONDS = 60
LONG_SECONDS = 600
ROUNDS = 2
CORES = len(os.sched_getaffinity(0))

BARS = (
    Bar("whole_file_to_worker_ratio", ">=", 0.95),
    Bar("one_by_one_to_worker_ratio", ">=", 1.2),
)


async def measure(directory: Path, say: Say) -> Outcome:
    """Each way in turns, a few times; the best of each counts, since the machine may have had other things to do."""
    async with running_scene(directory, SOURCE_SECONDS, say) as scene:
        ours, whole, one_by_one = [], [], []
        async with scene.workers(1, jobs_at_once=CORES) as workers:
            for _ in range(ROUNDS):
                ours.append(await scene.by_workers(workers, scene.segments, scene.renditions()))
                whole.append(await _by_ffmpeg(scene, [scene.renditions()]))
                one_by_one.append(await _by_ffmpeg(scene, [[one] for one in scene.renditions()]))
                say(f"worker {_told(ours)}, whole file {_told(whole)}, one by one {_told(one_by_one)}")
        alone, both = await _second_worker(scene, say)
    best = {"worker": _best(ours), "whole": _best(whole), "one_by_one": _best(one_by_one)}
    figures = {
        "worker_seconds": round(best["worker"].seconds, 2),
        "worker_cpu_seconds": round(best["worker"].cpu_seconds, 2),
        "worker_times_real_time": round(SOURCE_SECONDS / best["worker"].seconds, 2),
        "whole_file_to_worker_ratio": round(best["whole"].seconds / best["worker"].seconds, 3),
        "one_by_one_to_worker_ratio": round(best["one_by_one"].seconds / best["worker"].seconds, 3),
        "whole_file_to_worker_cpu_ratio": round(best["whole"].cpu_seconds / best["worker"].cpu_seconds, 3),
        "ten_minutes_by_one_encoder_seconds": round(alone.seconds, 2),
        "ten_minutes_by_two_workers_seconds": round(both.seconds, 2),
        "second_worker_ratio": round(alone.seconds / both.seconds, 3),
    }
    peers = {
        "whole_file_seconds": round(best["whole"].seconds, 2),
        "whole_file_cpu_seconds": round(best["whole"].cpu_seconds, 2),
        "one_by_one_seconds": round(best["one_by_one"].seconds, 2),
        "one_by_one_cpu_seconds": round(best["one_by_one"].cpu_seconds, 2),
    }
    cpu_seconds = round(sum(spent.cpu_seconds for spent in ours), 2)
    return Outcome(figures, processes=1, cpu_seconds=cpu_seconds, peers=peers)


async def _second_worker(scene: Scene, say: Say) -> tuple[Spent, Spent]:
    """Ten minutes, the same one ten times, into the smallest picture: the whole ladder would take ten as well."""
    spent = []
    segments = [*scene.segments] * (LONG_SECONDS // SOURCE_SECONDS)
    smallest = [one for one in scene.renditions() if one.height_px][-1:]
    for number in (1, 2):
        async with scene.workers(number, jobs_at_once=1) as workers:
            spent.append(await scene.by_workers(workers, segments, smallest))
            say(f"{number} workers with one encoder each: {_told(spent)}")
    return spent[0], spent[1]


async def _by_ffmpeg(scene: Scene, runs: Sequence[Sequence[Rendition]]) -> Spent:
    """One ffmpeg after the other, each with some of the renditions and as many threads as it likes."""
    before, started = _children_cpu_seconds(), time.perf_counter()
    for renditions in runs:
        outputs = [(one, scene.directory / f"peer-{one.name}.ts") for one in renditions]
        process = await asyncio.create_subprocess_exec(
            *rendition_arguments(scene.whole, outputs, threads=0), stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            raise RuntimeError("ffmpeg failed")
    return Spent(time.perf_counter() - started, _children_cpu_seconds() - before)


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _best(spent: Sequence[Spent]) -> Spent:
    return min(spent, key=lambda one: one.seconds)


def _told(spent: Sequence[Spent]) -> str:
    return f"{spent[-1].seconds:.1f} s ({spent[-1].cpu_seconds:.1f} s of processors)"


BENCH = Bench(
    name="archive_ladder",
    description="A minute of 1080p30 into 720p, 480p, 360p and sound: a worker's chunks against one ffmpeg for the "
    "whole file and one for each rendition; and two workers against one.",
    bars=BARS,
    measure=measure,
)
