"""The archive's processes as they run in production, for the tests that kill them; conftest.py has the fixtures."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from deploy.local.places import CHECKOUT
from tests.conftest import FaultPlan
from tests.integration.archive.clips import Clip, pictures_of
from tests.integration.archive.house import House
from tests.integration.archive.media_server import MediaServerDisk

LEASE_SECONDS = 2.0
POINTS_ALL = 50
"""Kills of each of the archive's processes in `make faults`."""


class Processes:
    """The archive's processes as they run in production, with a disk for the objects."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment = environment
        self._log = log
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, *, called: str | None = None) -> None:
        """Start one; ``called`` tells several of a kind apart."""
        with self._log.open("ab") as log:
            self._running[called or name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "archive", name), env=self.environment, cwd=CHECKOUT, stdout=log, stderr=log
            )

    def pid(self, name: str) -> int:
        return self._running[name].pid

    async def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        await process.wait()

    def freeze(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGCONT)

    async def kill_all(self) -> None:
        for name in list(self._running):
            await self.kill(name)


def environment_of(
    house: House, *, database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> dict[str, str]:
    """Settings of the processes: objects in the folder ``objects`` beside the house's HLS directory."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LIVESTREAM_")} | {
        "LIVESTREAM_POSTGRES_DSN": database_url,
        "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "LIVESTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
        "LIVESTREAM_ARCHIVE_OBJECT_STORE": "disk",
        "LIVESTREAM_ARCHIVE_DISK_DIRECTORY": str(house.hls.parent / "objects"),
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(house.hls),
        "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(house.work),
        "LIVESTREAM_ARCHIVE_WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
        "LIVESTREAM_ARCHIVE_WORKER_ATTEMPTS_MAX": "20",
        "LIVESTREAM_ARCHIVE_WORKER_NICE": "0",  # beside other tests an encoder that stands back gets nothing
        "LIVESTREAM_ARCHIVE_CHUNK_SECONDS": "4",
        "LIVESTREAM_HTTP_PORT": "0",
        "LIVESTREAM_REDIS_URL": "redis://127.0.0.1:1/0",  # nobody is there: requests are not counted
        "LIVESTREAM_JWKS_URL": "http://127.0.0.1:1/jwks.json",
    }


def kills(plan: FaultPlan) -> int:
    """How often a process is killed in this run: a few times, or at all points."""
    return plan.points if plan.points < 10 else POINTS_ALL


async def stream(house: House, clip: Clip, *, segment_seconds: float = 0.2) -> UUID:
    """A stream of the whole clip within one second."""
    stream_id = await house.started()
    disk = MediaServerDisk(house.hls, stream_id)
    for body, duration_ms in zip(clip.segments, clip.durations_ms, strict=True):
        disk.begin(body)
        await asyncio.sleep(segment_seconds)
        disk.close(body, duration_ms)
    await house.ended(stream_id)
    return stream_id


async def check_whole(
    house: House, stream_id: UUID, clip: Clip, tmp_path: Path, *, renditions: Sequence[str] = ("source", "480p")
) -> None:
    """All frames of the 8 s are there, in every rendition, and each thing was said once."""
    times = []
    for rendition in renditions:
        keys = await house.pieces(f"{stream_id}/{rendition}/index.m3u8")
        times.append(pictures_of(await house.fetched(keys, tmp_path / "all.ts")).times)
    assert len(times[0]) == 240
    assert all(of_rendition == times[0] for of_rendition in times)
    said = [kind for kind, facts in await house.said() if facts["stream_id"] == str(stream_id)]
    assert [said.count("recording.published"), said.count("recording.completed")] == [1, 1]
    sizes = await house.pool.fetch("select size_bytes from segments where stream_id = $1 order by sequence", stream_id)
    assert [row["size_bytes"] for row in sizes] == [len(body) for body in clip.segments]
