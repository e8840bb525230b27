"""SIGKILL of the archive's processes at any moment: nothing is lost, nothing is said twice, another goes on."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from archive.objects_disk import DiskObjects
from deploy.local.places import CHECKOUT
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings
from tests.conftest import FaultPlan
from tests.engines import Database
from tests.integration.archive.clips import Clip, make_clip, pictures_of
from tests.integration.archive.house import House, until
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

LEASE_SECONDS = 2.0


class Processes:
    """The archive's processes as they run in production, with a disk for the objects."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        with self._log.open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "archive", name), env=self._environment, cwd=CHECKOUT, stdout=log, stderr=log
            )

    def pid(self, name: str) -> int:
        return self._running[name].pid

    async def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        await process.wait()

    async def kill_all(self) -> None:
        for name in list(self._running):
            await self.kill(name)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return make_clip(tmp_path_factory.mktemp("clips") / "large", seconds=8)


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    for name in ("hls", "work", "objects"):
        (tmp_path / name).mkdir()
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with open_pool(settings, schema="archive") as pool, DiskObjects(tmp_path / "objects") as objects:
        yield House(pool, objects, tmp_path / "hls", tmp_path / "work")


@pytest.fixture
async def processes(
    house: House, database: Database, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Processes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")} | {
        "LIVESTREAM_POSTGRES_DSN": database.url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
        "LIVESTREAM_ARCHIVE_OBJECT_STORE": "disk",
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(tmp_path / "objects"),
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(house.hls),
        "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(house.work),
        "LIVESTREAM_ARCHIVE_WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
        "LIVESTREAM_ARCHIVE_WORKER_ATTEMPTS_MAX": "20",
        "LIVESTREAM_ARCHIVE_WORKER_NICE": "0",  # beside other tests an encoder that stands back gets nothing
        "LIVESTREAM_ARCHIVE_CHUNK_SECONDS": "4",
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_JWKS_URL": "http://127.0.0.1:1/jwks.json",
    }
    started = Processes(environment, tmp_path / "processes.log")
    yield started
    await started.kill_all()


async def stream(house: House, clip: Clip) -> UUID:
    """A stream of 8 s within one second."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.begin(body)
        await asyncio.sleep(0.2)
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    return stream_id


async def check_whole(house: House, stream_id: UUID, clip: Clip, tmp_path: Path) -> None:
    """All frames are there, in both renditions, and each thing was said once."""
    times = []
    for rendition in ("source", "480p"):
        keys = await house.pieces(f"{stream_id}/{rendition}/index.m3u8")
        times.append(pictures_of(await house.fetched(keys, tmp_path / "all.ts")).times)
    assert len(times[0]) == 240
    assert times[0] == times[1]
    said = [kind for kind, facts in await house.said() if facts["stream_id"] == str(stream_id)]
    assert said == ["recording.published", "recording.completed"]
    sizes = await house.pool.fetch("select size_bytes from segments where stream_id = $1 order by sequence", stream_id)
    assert [row["size_bytes"] for row in sizes] == [len(body) for body in clip.segments]


async def test_kills_at_any_moment_cost_nothing(
    house: House, processes: Processes, clip: Clip, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    victims = ["shipper", "intake", "worker"]
    for name in victims:
        await processes.start(name)
    for point in range(fault_plan.points):
        victim = victims[point % len(victims)]
        streaming = asyncio.create_task(stream(house, clip))
        # A stream takes 0.8 s, settling and finalising one more, the ladder one more.
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        await processes.kill(victim)
        await processes.start(victim)
        stream_id = await streaming
        await house.until_status(stream_id, "completed", seconds=60)
        await check_whole(house, stream_id, clip, tmp_path)
    assert await house.pool.fetchval("select count(*) from recordings") == fault_plan.points


async def test_a_worker_killed_in_the_middle_of_a_chunk_is_replaced_after_its_lease(
    house: House, processes: Processes, clip: Clip, tmp_path: Path
) -> None:
    await processes.start("shipper")
    await processes.start("intake")
    stream_id = await stream(house, clip)
    await house.until_status(stream_id, "processing")
    await processes.start("worker")

    async def encoding() -> bool:
        return any(child.name() == "ffmpeg" for child in psutil.Process(processes.pid("worker")).children())

    await until(encoding)
    orphans = psutil.Process(processes.pid("worker")).children()
    await processes.kill("worker")
    leased = await house.pool.fetch("select number from chunks where state = 'leased'")
    assert leased
    killed_at = time.monotonic()
    await processes.start("worker")
    await house.until_status(stream_id, "completed", seconds=60)
    assert time.monotonic() - killed_at < LEASE_SECONDS + 20
    await check_whole(house, stream_id, clip, tmp_path)
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert all(f"{row['number']}-2.ts" in index for row in leased)
    await until(lambda: asyncio.to_thread(lambda: not any(orphan.is_running() for orphan in orphans)))
