"""Object store and Postgres killed, frozen and restarted amid streams and ladders: all completes by itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local import Stack
from runtime.migrations import migrate
from runtime.objects_s3 import S3Objects, S3Place
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings
from tests.conftest import FaultPlan
from tests.faults.archive_process import Processes, check_whole, environment_of
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, until
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(2_700)]

FROZEN_SECONDS, FROZEN_SECONDS_ALL = 8.0, 60.0
DOWN_SECONDS = 1.0
COMPLETE_SECONDS_MAX = 90.0
# A stream of 8 s is streamed within two, settled and finalised in one more, and its ladder takes a few.
MOMENT_SECONDS_MAX = 5.0
OUTAGES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass
class Scene:
    """The archive's processes on engines of their own."""

    stack: Stack
    house: House
    frozen_seconds: float

    async def kill_store(self) -> None:
        """SIGKILL, and a new start."""
        await self._kill("minio")

    async def freeze_store(self) -> None:
        """It takes connections and answers nothing."""
        pid = self.stack.pid("minio")
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.frozen_seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def kill_postgres(self) -> None:
        """SIGKILL, and a new start."""
        await self._kill("postgres")

    async def _kill(self, engine: str) -> None:
        await asyncio.to_thread(self.stack.kill, engine)
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(self.stack.start, engine)

    async def stream(self, clip: Clip) -> UUID:
        """A stream of the whole clip within two seconds; that it ended is said as soon as Postgres hears it."""
        stream_id = await patiently(self.house.started)
        disk = MediaServerDisk(self.house.hls, stream_id)
        for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
            disk.begin(body)
            await asyncio.sleep(0.4)
            disk.close(body, duration_ms)
        await patiently(lambda: self.house.ended(stream_id))
        return stream_id


async def patiently(say: Callable[[], Awaitable[UUID | None]]) -> UUID:
    """Try until Postgres takes it; both starts and ends may be said twice."""
    while True:
        with suppress(*OUTAGES):
            return await say() or UUID(int=0)
        await asyncio.sleep(0.1)


@pytest.fixture
async def scene(own_stack: Callable[..., Stack], fault_plan: FaultPlan, tmp_path: Path) -> AsyncIterator[Scene]:
    stack = await asyncio.to_thread(own_stack, "postgres", "minio")
    told = stack.environment()
    dsn = SecretStr(told["LIVESTREAM_POSTGRES_DSN"])
    await migrate(dsn)
    for name in ("hls", "work"):
        (tmp_path / name).mkdir()
    store = {name: text for name, text in told.items() if name.startswith("LIVESTREAM_ARCHIVE_S3_")}
    place = S3Place(
        store["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        store.get("LIVESTREAM_ARCHIVE_S3_BUCKET", "recordings"),
        SecretStr(store["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"]),
        SecretStr(store["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"]),
    )
    settings = PostgresSettings(postgres_dsn=dsn)
    async with open_pool(settings, schema="archive") as pool, S3Objects(place, public_read=True) as objects:
        house = House(pool, objects, tmp_path / "hls", tmp_path / "work")
        environment = environment_of(
            house, database_url=dsn.get_secret_value(), kafka_bootstrap_servers="", topic_prefix=""
        )
        own = {"LIVESTREAM_ARCHIVE_OBJECT_STORE": "s3", "LIVESTREAM_BUS_BACKEND": "postgres"}
        processes = Processes(environment | store | own, tmp_path / "processes.log")
        try:
            for name in ("shipper", "intake", "worker"):
                await processes.start(name)
            frozen_seconds = FROZEN_SECONDS if fault_plan.points < 10 else FROZEN_SECONDS_ALL
            yield Scene(stack, house, frozen_seconds)
        finally:
            await processes.kill_all()


async def completed(house: House, stream_id: UUID) -> bool:
    with suppress(*OUTAGES):
        found = await house.recordings.find(stream_id)
        return found is not None and found.status == "completed"
    return False


async def test_engines_may_die_freeze_and_return_in_the_middle_of_streams_and_ladders(
    scene: Scene, clip: Clip, small_clip: Clip, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    faults = [scene.kill_store, scene.freeze_store, scene.kill_postgres]
    # No engine fails before the processes are at work.
    first = await scene.stream(small_clip)
    await until(lambda: completed(scene.house, first), seconds=COMPLETE_SECONDS_MAX)
    streams = [first]
    for point in range(fault_plan.points):
        streaming = asyncio.create_task(scene.stream(clip))
        await asyncio.sleep(chance.uniform(0.0, MOMENT_SECONDS_MAX))
        await faults[point % len(faults)]()
        stream_id = await streaming
        streams.append(stream_id)
        await until(lambda: completed(scene.house, streams[-1]), seconds=COMPLETE_SECONDS_MAX)
        await check_whole(scene.house, stream_id, clip, tmp_path, renditions=("source", "480p", "360p"))
    assert await scene.house.pool.fetchval("select count(*) from recordings") == len(streams)
    # Everybody was only waited for: no job was given up, none is left.
    states = await scene.house.pool.fetch("select distinct state from jobs where kind = 'chunk'")
    assert [row["state"] for row in states] == ["done"]
