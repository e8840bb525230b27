"""SIGKILL of the shipper at any moment, catch-up after an outage included: no segment is lost, none is there twice."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import pytest

from archive.objects.keys import source_segment_key
from archive.shipping.rows import Shipments
from tests.conftest import FaultPlan
from tests.faults.archive_process import Processes, kills
from tests.integration.archive.clips import Clip
from tests.integration.archive.house import House, until
from tests.integration.archive.media_server import MediaServerDisk

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

STREAMS = 2
BACKLOG_SEGMENTS = 8
SEGMENTS = 18


async def write(house: House, stream_id: UUID, clip: Clip, chance: random.Random) -> list[bytes]:
    """A stream that begins with a backlog, as after an outage, and goes on; what was written of it."""
    disk = MediaServerDisk(house.hls, stream_id)
    bodies = []
    for number in range(SEGMENTS):
        at = number % len(clip.segments)
        body, duration_ms = clip.segments[at], clip.durations_ms[at]
        if number >= BACKLOG_SEGMENTS:
            disk.begin(body)
            await asyncio.sleep(chance.uniform(0.0, 0.15))
        disk.close(body, duration_ms)
        bodies.append(body)
    await house.ended(stream_id)
    return bodies


async def check(house: House, stream_id: UUID, bodies: list[bytes]) -> None:
    """Every segment is in the store as it was written, with one row, and none was given up."""
    rows = await house.pool.fetch(
        "select sequence, size_bytes, duration_ms from segments where stream_id = $1 order by sequence", stream_id
    )
    assert [tuple(row) for row in rows] == [(number, len(body), 2000) for number, body in enumerate(bodies)]
    assert await Shipments(house.pool).lost(stream_id) == []
    for number, body in enumerate(bodies):
        key = source_segment_key(stream_id, number)
        assert await house.objects.get_bytes(key, bytes_max=1 << 24) == body, key
    named = {stored.key async for stored in house.objects.list(f"{stream_id}/")}
    assert named == {source_segment_key(stream_id, number) for number in range(len(bodies))}
    expected = await house.pool.fetchval("select segments_expected from recordings where stream_id = $1", stream_id)
    assert expected == len(bodies)


async def test_a_shipper_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    house: House, processes: Processes, small_clip: Clip, fault_plan: FaultPlan
) -> None:
    chance = random.Random(fault_plan.seed)
    await processes.start("shipper")
    for _ in range(kills(fault_plan)):
        stream_ids = [await house.started() for _ in range(STREAMS)]
        writing = asyncio.gather(*(write(house, stream_id, small_clip, chance) for stream_id in stream_ids))
        # All of it takes about two seconds, the start of a shipper one.
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        await processes.kill("shipper")
        await processes.start("shipper")
        written = await writing

        async def settled(stream_ids: list[UUID] = stream_ids) -> bool:
            return await Shipments(house.pool).settled_among(stream_ids) == set(stream_ids)

        await until(settled, seconds=90)
        for stream_id, bodies in zip(stream_ids, written, strict=True):
            await check(house, stream_id, bodies)
