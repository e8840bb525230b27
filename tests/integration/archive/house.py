"""The archive put together for a test: a database, a store, and its services, which run while the test asks."""

from __future__ import annotations

import asyncio
import json
import posixpath
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from archive import store
from archive.jobs.jobs import JobKind, Jobs
from archive.jobs.worker import Worker
from archive.ladder.chunk_kind import ChunkKind
from archive.ladder.chunks import Chunks, ChunkState
from archive.ladder.completion import Completion
from archive.ladder.ladder import LadderStep
from archive.ladder.planner import LadderPlanner
from archive.ladder.planner_store import PlannerStore
from archive.ladder.transcode import EncoderBudget, Transcoder
from archive.media.process import ProcessRunner
from archive.publishing.finalise import Finaliser
from archive.publishing.source_probe import SourceProbe
from archive.shipping.rows import Shipments
from archive.shipping.shipper import Shipper, ShipperPace
from archive.shipping.spool_room import SpoolLimits
from archive.store import Recording, Recordings
from eventbus.outbox import Outbox
from runtime.ids import uuid7
from runtime.objects import ObjectStore
from runtime.postgres import Pool
from runtime.service import Service

CHANNEL = UUID("01890000-0000-7000-8000-00000000c4a1")
LADDER = (LadderStep("480p", lines=480, video_bits_per_second_max=1_400_000),)
"""One rendition is enough to show what happens to chunks; tests of the ladder give their own."""
PACE = ShipperPace(poll_seconds=0.1)


@dataclass
class House:
    """Everything that one test's archive is made of."""

    pool: Pool
    objects: ObjectStore
    hls: Path
    work: Path

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.pool, source="archive")
        self.recordings = Recordings(self.pool)
        self.runner = ProcessRunner(without_network=False)

    def shipper(self, pace: ShipperPace = PACE, limits: SpoolLimits | None = None) -> Shipper:
        return Shipper(self.hls, Shipments(self.pool), self.objects, self.runner, pace, limits)

    def finaliser(self) -> Finaliser:
        return Finaliser(
            self.recordings,
            self.outbox,
            self.objects,
            self.source_probe(),
            playback_path="/recordings",
        )

    def source_probe(self) -> SourceProbe:
        return SourceProbe(self.objects, self.runner, self.work)

    def planner(
        self,
        *,
        ladder: Sequence[LadderStep] = LADDER,
        with_sound: bool = False,
        while_live: bool = False,
        chunk_seconds: float = 4.0,
    ) -> LadderPlanner:
        return LadderPlanner(
            PlannerStore(self.pool),
            self.recordings,
            self.outbox,
            self.source_probe(),
            ladder=ladder,
            with_sound=with_sound,
            chunk_seconds=chunk_seconds,
            while_live=while_live,
        )

    def jobs(self, lease_seconds: float = 20.0) -> Jobs:
        return Jobs(self.pool, lease_seconds=lease_seconds)

    def chunk_kind(self) -> ChunkKind:
        # An encoder that stands back gets nothing beside other tests: they keep every core busy.
        transcoder = Transcoder(self.objects, self.runner, EncoderBudget(nice=0), work_directory=self.work)
        return ChunkKind(self.pool, self.objects, transcoder)

    def worker(self, *kinds: JobKind, attempts_max: int = 3, lease_seconds: float = 20.0) -> Worker:
        return Worker(
            self.jobs(lease_seconds),
            self.outbox,
            kinds or [self.chunk_kind()],
            jobs_at_once=1,
            attempts_max=attempts_max,
        )

    def completion(self) -> Completion:
        return Completion(self.pool, self.outbox, self.objects)

    async def chunks(self, stream_id: UUID) -> list[ChunkState]:
        return await Chunks(self.pool).all(stream_id)

    async def started(self, stream_id: UUID | None = None) -> UUID:
        stream_id = stream_id or uuid7()
        async with self.outbox.transaction() as transaction:
            await store.note_started(
                transaction.connection,
                stream_id=stream_id,
                channel_id=CHANNEL,
                channel_name="ada",
                title="Engines",
                started_at=datetime.now(UTC),
            )
        return stream_id

    async def ended(self, stream_id: UUID) -> None:
        async with self.outbox.transaction() as transaction:
            await store.note_ended(
                transaction.connection,
                stream_id=stream_id,
                channel_id=CHANNEL,
                started_at=datetime.now(UTC),
                ended_at=datetime.now(UTC),
                traceparent=None,
            )

    async def recording(self, stream_id: UUID) -> Recording:
        found = await self.recordings.find(stream_id)
        assert found is not None
        return found

    async def until_status(self, stream_id: UUID, *statuses: str, seconds: float = 60) -> Recording:
        async def reached() -> bool:
            return (await self.recording(stream_id)).status in statuses

        await until(reached, seconds=seconds)
        return await self.recording(stream_id)

    async def until_planned(self, stream_id: UUID) -> None:
        async def reached() -> bool:
            query = "select ladder_planned_at from recordings where stream_id = $1"
            return await self.pool.fetchval(query, stream_id) is not None

        await until(reached)

    async def until_shipped(self, stream_id: UUID, segments: int) -> None:
        async def reached() -> bool:
            return len(await self.recordings.shipped(stream_id)) >= segments

        await until(reached)

    async def said(self) -> list[tuple[str, dict[str, Any]]]:
        """The events that were said so far: type and data."""
        rows = await self.pool.fetch("select type, data from outbox order by id")
        return [(row["type"], json.loads(row["data"])) for row in rows]

    async def outcomes(self) -> list[str]:
        """The types of the events that were said so far, without those that tell of progress."""
        return [kind for kind, _ in await self.said() if kind != "recording.progressed"]

    async def text(self, key: str) -> str:
        return (await self.objects.get_bytes(key, bytes_max=1 << 20)).decode()

    async def pieces(self, playlist_key: str) -> list[str]:
        """The keys that a media playlist names, each of which must be there."""
        folder = playlist_key.rpartition("/")[0]
        names = [line for line in (await self.text(playlist_key)).splitlines() if line and not line.startswith("#")]
        # A rendition may name segments of the source: "../source/2.ts".
        keys = [posixpath.normpath(f"{folder}/{name}") for name in names]
        for key in keys:
            assert await self.objects.head(key) is not None, f"{playlist_key} names {key}, which is not there"
        return keys

    async def fetched(self, keys: Sequence[str], target: Path) -> Path:
        """The objects joined in one file."""
        bodies = [await self.objects.get_bytes(key, bytes_max=64 << 20) for key in keys]
        await asyncio.to_thread(target.write_bytes, b"".join(bodies))
        return target


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 45) -> None:
    """Wait for the condition, or fail."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"it did not come true within {seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Run services while the block runs; one that fails fails the test."""
    tasks = [asyncio.create_task(service.run(), name=service.name) for service in services]
    try:
        yield
        for task in tasks:
            assert not task.done(), f"{task.get_name()} ended: {task.exception()}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)


def durations_ms(playlist: str) -> list[int]:
    """The durations that a media playlist tells."""
    return [round(float(text) * 1000) for text in re.findall(r"#EXTINF:([0-9.]+),", playlist)]
