"""SIGKILL of the worker in the middle of a clip: another makes it, whole, and nobody names what the first one left."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import FaultPlan
from tests.faults.archive_process import Processes, kills
from tests.integration.archive.clipping import asked
from tests.integration.archive.counted import make_counted, recorded, seen_in
from tests.integration.archive.house import House, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


async def test_a_worker_killed_at_any_moment_of_a_clip_costs_nothing(
    house: House, processes: Processes, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    original_id = await recorded(house, make_counted(tmp_path / "counted", seconds=8))
    for name in ("intake", "worker"):
        await processes.start(name)
    leases = 0
    for _ in range(kills(fault_plan)):
        # Pictures 15 to 224, the first and the last segment cut.
        clip_id = await asked(house, original_id, 500, 7_500, exact=True, pending_max=1_000)

        async def leased(clip_id: UUID = clip_id) -> bool:
            state = "select state from jobs where stream_id = $1 and kind = 'clip'"
            return bool(await house.pool.fetchval(state, clip_id) != "pending")

        await until(leased, seconds=60)
        await asyncio.sleep(chance.uniform(0.0, 0.8))
        await processes.kill("worker")
        await processes.start("worker")
        clip = await house.until_status(clip_id, "processing", "completed", seconds=60)
        assert (clip.duration_ms, clip.partial) == (7_000, False)
        keys = await house.pieces(f"{clip_id}/source/index.m3u8")
        numbers: list[int] = []
        for key in keys:
            path = await house.fetched([key], tmp_path / "piece.ts")
            numbers += (await asyncio.to_thread(seen_in, path)).numbers
        assert numbers == list(range(15, 225))
        assert [key.rpartition("/")[2] for key in keys] == [
            f"{sequence}.ts" for sequence in sorted(await house.recordings.shipped(clip_id))
        ]
        fence = "select fence from jobs where stream_id = $1 and kind = 'clip'"
        leases += await house.pool.fetchval(fence, clip_id)
    assert leases > kills(fault_plan), "no kill met a worker at work"
