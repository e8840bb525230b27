"""SIGKILL of the worker in the middle of a download or a storyboard: another makes it, once, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from uuid import UUID

import pytest

from archive.downloads.kind import DOWNLOAD
from archive.downloads.requests import DownloadRequests
from archive.pictures.pictures import plan_pictures
from tests.conftest import FaultPlan
from tests.faults.archive_process import Processes, kills
from tests.integration.archive.clips import Clip, make_clip
from tests.integration.archive.house import House, until
from tests.integration.archive.playing import Recorded, fetched_file, playing, tool

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

TIMES = 8
KINDS = (DOWNLOAD, "poster", "storyboard")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s of 240p."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small", seconds=4, size="320x240", rate=15)


async def wanted(house: House, small: Clip) -> UUID:
    """A recording of 32 s with everything asked for."""
    recorded = Recorded()
    for _ in range(TIMES):
        recorded.add(small)
    stream_id = await playing(house, recorded)
    requests = DownloadRequests(house.pool, keep_seconds=3600)
    source = await requests.rendition(stream_id, "source", duration_ms=recorded.duration_ms)
    assert source is not None
    await requests.ask(stream_id, source)
    async with house.outbox.transaction() as transaction:
        await plan_pictures(transaction.connection, stream_id, duration_ms=recorded.duration_ms)
    return stream_id


async def check_made(house: House, stream_id: UUID, tmp_path: Path) -> None:
    """Each thing is there once, under its latest fence, and whole."""
    jobs = await house.pool.fetch("select kind, state, fence from jobs where stream_id = $1", stream_id)
    assert {row["kind"]: row["state"] for row in jobs} == dict.fromkeys(KINDS, "done")
    fences = {row["kind"]: row["fence"] for row in jobs}
    files = (await house.recording(stream_id)).files
    assert {(file.role, file.name) for file in files} == {
        ("download", f"download/source-{fences[DOWNLOAD]}.mp4"),
        ("poster", f"poster-{fences['poster']}.jpg"),
        ("sprite", f"storyboard/0-{fences['storyboard']}.jpg"),
        ("storyboard", f"storyboard/{fences['storyboard']}.vtt"),
    }
    for file in files:
        stored = await house.objects.head(f"{stream_id}/{file.name}")
        assert stored is not None
        assert stored.size_bytes == file.size_bytes
    name = f"{stream_id}/download/source-{fences[DOWNLOAD]}.mp4"
    path = await fetched_file(house, name, tmp_path / "download.mp4")
    argv = ["ffprobe", "-v", "error", "-of", "json", "-count_packets", "-select_streams", "v"]
    told = json.loads(await tool(*argv, "-show_entries", "stream=nb_read_packets:format=duration", str(path)))
    assert int(told["streams"][0]["nb_read_packets"]) == TIMES * 4 * 15
    assert abs(float(told["format"]["duration"]) - TIMES * 4) <= 0.1
    # What the killed worker had on the disk was in the way of the next download.
    assert not await asyncio.to_thread(lambda: list(house.work.glob("download-*")))


async def test_a_worker_killed_while_it_makes_downloads_and_pictures_costs_nothing(
    house: House, processes: Processes, small: Clip, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    await processes.start("worker")
    for _ in range(kills(fault_plan)):
        stream_id = await wanted(house, small)

        async def taken(stream_id: UUID = stream_id) -> bool:
            query = "select count(*) from jobs where stream_id = $1 and state <> 'pending'"
            return bool(await house.pool.fetchval(query, stream_id))

        await until(taken)
        # The download takes half a second, the poster as much, the storyboard one more.
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        await processes.kill("worker")
        await processes.start("worker")

        async def made(stream_id: UUID = stream_id) -> bool:
            query = "select count(*) from jobs where stream_id = $1 and state in ('done', 'failed')"
            return bool(await house.pool.fetchval(query, stream_id) == len(KINDS))

        await until(made, seconds=60)
        await check_made(house, stream_id, tmp_path)
