"""SIGKILL of one of two workers at any moment: one winner for each job, the whole ladder, no encoder left behind."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from tests.conftest import FaultPlan
from tests.faults.archive_process import LEASE_SECONDS, Processes, check_whole, kills
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, running, until
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

WORKERS = ("first", "second")


async def published(house: House, clip: Clip) -> UUID:
    """A recording that plays, with jobs of 2 s each."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    async with running(house.shipper(), house.finaliser(), house.planner(chunk_seconds=2.0)):
        await house.until_planned(stream_id)
    return stream_id


async def start(processes: Processes, worker: str) -> None:
    """Start a worker under a name of its own."""
    await processes.start("worker", called=worker)


def encoders(pid: int) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(pid).children() if child.name() == "ffmpeg"]
    except psutil.NoSuchProcess:
        return []


def is_stopped(process: psutil.Process) -> bool:
    """Stop it; false when it has come to its end before."""
    try:
        process.suspend()
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


async def check_winners(house: House, stream_id: UUID) -> None:
    """Every job is done once, and the store holds what its last holder made."""
    rows = await house.pool.fetch(
        "select number, fence, state from jobs where stream_id = $1 and kind = 'chunk' order by number", stream_id
    )
    assert [row["state"] for row in rows] == ["done"] * 4
    named = set(await house.pieces(f"{stream_id}/480p/index.m3u8"))
    assert named == {f"{stream_id}/480p/{row['number']}-{row['fence']}.ts" for row in rows}


async def test_workers_killed_at_any_moment_leave_a_whole_ladder(
    house: House, processes: Processes, clip: Clip, fault_plan: FaultPlan, tmp_path: Path
) -> None:
    chance = random.Random(fault_plan.seed)
    for worker in WORKERS:
        await start(processes, worker)
    orphans: list[psutil.Process] = []
    for point in range(kills(fault_plan)):
        stream_id = await published(house, clip)
        # Four chunks of 2 s take the two workers a second or two.
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        victim = WORKERS[point % 2]
        orphans += encoders(processes.pid(victim))
        await processes.kill(victim)
        await start(processes, victim)
        await house.until_status(stream_id, "completed", seconds=90)
        await check_whole(house, stream_id, clip, tmp_path)
        await check_winners(house, stream_id)
    await until(lambda: asyncio.to_thread(lambda: not any(orphan.is_running() for orphan in orphans)))


async def test_a_worker_killed_in_the_middle_of_a_chunk_is_replaced_after_its_lease(
    house: House, processes: Processes, clip: Clip, tmp_path: Path
) -> None:
    stream_id = await published(house, clip)
    await start(processes, "first")

    orphans: list[psutil.Process] = []

    async def encoding() -> bool:
        # Stopped, so that it is in the middle of its chunk for however long this test takes.
        orphans[:] = [one for one in encoders(processes.pid("first")) if is_stopped(one)]
        return bool(orphans)

    await until(encoding)
    await processes.kill("first")
    leased = await house.pool.fetch("select number from jobs where state = 'leased' and kind = 'chunk'")
    assert leased
    killed_at = time.monotonic()
    await start(processes, "second")
    await house.until_status(stream_id, "completed", seconds=90)
    assert time.monotonic() - killed_at < LEASE_SECONDS + 45
    await check_whole(house, stream_id, clip, tmp_path)
    index = await house.text(f"{stream_id}/480p/index.m3u8")
    assert all(f"{row['number']}-2.ts" in index for row in leased)
    await until(lambda: asyncio.to_thread(lambda: not any(orphan.is_running() for orphan in orphans)))
