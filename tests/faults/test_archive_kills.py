"""SIGKILL of the archive's processes at any moment: nothing is lost, nothing is said twice, another goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.conftest import FaultPlan
from tests.faults.archive_process import Processes, check_whole, stream
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House

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
