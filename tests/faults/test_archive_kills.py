"""SIGKILL of the archive's processes at any moment: nothing is lost, nothing is said twice, another goes on."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import FaultPlan
from tests.faults.archive_process import LEASE_SECONDS, Processes, check_whole, stream
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


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
    leased = await house.pool.fetch("select number from jobs where state = 'leased'")
    assert leased
    killed_at = time.monotonic()
    await processes.start("worker")
    await house.until_status(stream_id, "completed", seconds=60)
    assert time.monotonic() - killed_at < LEASE_SECONDS + 20
    await check_whole(house, stream_id, clip, tmp_path)
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert all(f"{row['number']}-2.ts" in index for row in leased)
    await until(lambda: asyncio.to_thread(lambda: not any(orphan.is_running() for orphan in orphans)))
