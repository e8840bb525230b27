"""What the bench of ladders runs on: a source with motion, Postgres, an S3 store, and worker processes of its own."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from asyncio.subprocess import create_subprocess_exec
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psutil
from pydantic import SecretStr

from archive.ladder.chunks import extend, plan_renditions
from archive.ladder.ladder import Rendition, SourceSegment, deserved, group_chunks
from archive.objects.keys import SEGMENT, source_segment_key
from archive.settings import ArchiveSettings
from bench.report import Say
from deploy.local import Stack
from deploy.local.places import CHECKOUT
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.objects import ObjectStore
from runtime.objects_s3 import S3Objects, S3Place
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

PORT_BASE = 22_700
WIDTH_PX, HEIGHT_PX, FRAME_RATE = 1920, 1080, 30
SEGMENT_MS = 2_000
CHANNEL = UUID("01890000-0000-7000-8000-00000000c4a1")
WAIT_SECONDS_MAX = 600.0

_RECORDING = """
    insert into recordings (stream_id, channel_id, channel_name, title, status, started_at, ended_at, settled_at,
                            segments_expected, published_at, duration_ms)
    values ($1, $2, 'ada', 'Engines', 'processing', $3, $4, $4, $5, $4, $6)
"""
_SOURCE = """
    insert into renditions (stream_id, name, rank, state, width_px, height_px, frame_rate, codecs,
                            bits_per_second_peak, bits_per_second_average)
    values ($1, 'source', 0, 'ready', $2, $3, $4, null, 1, 1)
"""
_SEGMENTS = """
    insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity)
    select $1, s.sequence, $2, s.size_bytes, s.sequence = 0
    from unnest($3::integer[], $4::bigint[]) as s(sequence, size_bytes)
"""


@dataclass(frozen=True)
class Spent:
    """What one way of making a ladder took."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Scene:
    """What runs."""

    stack: Stack
    directory: Path
    pool: Pool
    objects: ObjectStore
    bucket: str
    segments: Sequence[Path]

    @property
    def whole(self) -> Path:
        """The source in one file."""
        return self.directory / "source.ts"

    def renditions(self) -> list[Rendition]:
        """What the source deserves with the settings as they are."""
        settings = ArchiveSettings.model_construct()
        return deserved(WIDTH_PX, HEIGHT_PX, ladder=settings.ladder, with_sound=True)

    async def recorded(self, segments: Sequence[Path]) -> UUID:
        """A recording that plays, with its segments in the store, and no plan."""
        stream_id = uuid7()
        await asyncio.gather(
            *(self.objects.put_file(source_segment_key(stream_id, n), path, SEGMENT) for n, path in enumerate(segments))
        )
        sizes = [path.stat().st_size for path in segments]
        ended, length_ms = datetime.now(UTC), len(segments) * SEGMENT_MS
        started = ended - timedelta(milliseconds=length_ms)
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(_RECORDING, stream_id, CHANNEL, started, ended, len(segments), length_ms)
            await connection.execute(_SOURCE, stream_id, WIDTH_PX, HEIGHT_PX, float(FRAME_RATE))
            await connection.execute(_SEGMENTS, stream_id, SEGMENT_MS, list(range(len(segments))), sizes)
        return stream_id

    async def plan(self, stream_id: UUID, segments: Sequence[Path], renditions: Sequence[Rendition]) -> None:
        """Have these renditions made, as the planner does it."""
        sources = [SourceSegment(n, SEGMENT_MS, 1, discontinuity=False) for n in range(len(segments))]
        chunk_seconds = ArchiveSettings.model_fields["archive_chunk_seconds"].default
        async with self.pool.acquire() as connection, connection.transaction():
            await plan_renditions(connection, stream_id, renditions, float(FRAME_RATE))
            await extend(connection, stream_id, group_chunks(sources, target_ms=round(chunk_seconds * 1000)))
            await connection.execute("update recordings set ladder_planned_at = now() where stream_id = $1", stream_id)

    async def until_completed(self, stream_id: UUID) -> None:
        """Wait for the whole ladder."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while (status := await self._status(stream_id)) != "completed":
            if status != "processing" or time.monotonic() > deadline:
                raise RuntimeError(f"the ladder is {status}")
            await asyncio.sleep(0.02)

    async def _status(self, stream_id: UUID) -> str:
        status: str = await self.pool.fetchval("select status from recordings where stream_id = $1", stream_id)
        return status

    @contextlib.asynccontextmanager
    async def workers(self, number: int, *, jobs_at_once: int) -> AsyncIterator[list[psutil.Process]]:
        """Worker processes that have made a first ladder; stopped on leaving."""
        environment = {
            **os.environ,
            **self.stack.environment(),
            "LIVESTREAM_HTTP_PORT": "0",
            "LIVESTREAM_ARCHIVE_S3_BUCKET": self.bucket,
            "LIVESTREAM_ARCHIVE_WORK_DIRECTORY": str(self.directory / "work"),
            "LIVESTREAM_ARCHIVE_WORKER_JOBS_AT_ONCE": str(jobs_at_once),
            "LIVESTREAM_ARCHIVE_WORKER_NICE": "0",
        }
        started = []
        with (self.directory / "workers.log").open("ab") as log:
            for _ in range(number):
                argv = (sys.executable, "-m", "archive", "worker")
                started.append(
                    await create_subprocess_exec(*argv, cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
                )
        try:
            warm = [await self.recorded(self.segments[:3]) for _ in range(2 * number)]
            for stream_id in warm:
                await self.plan(stream_id, self.segments[:3], self.renditions())
            for stream_id in warm:
                await self.until_completed(stream_id)
            yield [psutil.Process(process.pid) for process in started]
        finally:
            for process in started:
                if process.returncode is None:
                    process.terminate()
            for process in started:
                await process.wait()

    async def by_workers(
        self, workers: Sequence[psutil.Process], segments: Sequence[Path], renditions: Sequence[Rendition]
    ) -> Spent:
        """These renditions, from their plan to the master playlist."""
        stream_id = await self.recorded(segments)
        cpu_before, started = sum(map(_cpu_seconds, workers)), time.perf_counter()
        await self.plan(stream_id, segments, renditions)
        await self.until_completed(stream_id)
        return Spent(time.perf_counter() - started, sum(map(_cpu_seconds, workers)) - cpu_before)


@contextlib.asynccontextmanager
async def running_scene(directory: Path, seconds: int, say: Say) -> AsyncIterator[Scene]:
    """Start the engines and make the source; stopped on leaving."""
    stack = Stack(directory, port_base=PORT_BASE)
    segments = await asyncio.to_thread(_make_source, directory, seconds)
    await asyncio.to_thread(stack.up, ("postgres", "minio"), say=say)
    environment, bucket = stack.environment(), f"bench{uuid7().hex}"
    dsn = SecretStr(environment["LIVESTREAM_POSTGRES_DSN"])
    await migrate(dsn)
    place = S3Place(
        environment["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        bucket,
        SecretStr(environment["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"]),
        SecretStr(environment["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"]),
    )
    try:
        settings = PostgresSettings(postgres_dsn=dsn)
        async with (
            open_pool(settings, schema="archive") as pool,
            S3Objects(place, public_read=True) as objects,
        ):
            # What an earlier run left would be made first.
            await pool.execute("truncate recordings, segments, renditions, jobs, job_turns, recording_files")
            yield Scene(stack, directory, pool, objects, bucket, segments)
    finally:
        await asyncio.to_thread(stack.down)


def _make_source(directory: Path, seconds: int) -> list[Path]:
    """Moving patterns under noise, as hard to encode as a game, with a key frame every 2 s, in segments and whole."""
    folder = directory / f"source-{seconds}"
    if not (folder / "index.m3u8").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run_ffmpeg(folder, seconds)
    segments = sorted(folder.glob("*.ts"), key=lambda path: int(path.stem))
    (directory / "source.ts").write_bytes(b"".join(path.read_bytes() for path in segments))
    return segments


def _run_ffmpeg(folder: Path, seconds: int) -> None:
    picture = f"testsrc2=size={WIDTH_PX}x{HEIGHT_PX}:rate={FRAME_RATE}:duration={seconds},noise=alls=8:allf=t"
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture]
    argv += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac", "-b:a", "128k"]
    argv += ["-c:v", "libx264", "-preset", "superfast", "-b:v", "6000k", "-maxrate", "6000k", "-bufsize", "12000k"]
    argv += ["-pix_fmt", "yuv420p", "-g", str(2 * FRAME_RATE), "-keyint_min", str(2 * FRAME_RATE), "-sc_threshold", "0"]
    argv += ["-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run([*argv, str(folder / "index.m3u8")], check=True, timeout=600)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
