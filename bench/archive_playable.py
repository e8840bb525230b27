"""How soon a recording plays after its stream has ended, whatever its length: 1 minute, 1 hour, 10 hours.

The shipper, the finaliser, Postgres and both object stores are the real ones; the end is the intake's own note of it,
in its transaction, without the bus in between. The segments are synthetic: one of a few KB, as often as the length
needs, in the store as a shipper has left them and on the media server's disk; the last one is shipped while we look.
"""

import asyncio
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psutil
from pydantic import SecretStr

from archive import store
from archive.media.process import ProcessRunner
from archive.objects.keys import INDEX, SEGMENT, master_key, source_segment_key
from archive.publishing.finalise import Finaliser
from archive.publishing.source_probe import SourceProbe
from archive.shipping.rows import Shipments
from archive.shipping.shipper import Shipper, ShipperPace
from archive.store import Recordings
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from eventbus.outbox import Outbox
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.objects import ObjectStore
from runtime.objects_disk import DiskObjects
from runtime.objects_s3 import S3Objects, S3Place
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

PORT_BASE = 22_500
LENGTHS = {"1_minute": 30, "1_hour": 1_800, "10_hours": 18_000}
ROUNDS = 5
SEGMENT_MS = 2_000
WINDOW_SEGMENTS = 15
PUTS_AT_ONCE = 32
WAIT_SECONDS_MAX = 60.0
CHANNEL = UUID("01890000-0000-7000-8000-00000000c4a1")

BARS = tuple(Bar(f"{kind}_{length}_max_ms", "<=", 2_000) for kind in ("disk", "s3") for length in LENGTHS)


@dataclass(frozen=True)
class Scene:
    """An archive on one kind of store."""

    pool: Pool
    objects: ObjectStore
    hls: Path
    work: Path
    segment: Path

    async def recorded(self, segments: int) -> UUID:
        """A stream that runs and of which all but the last segment are shipped; all are on the media server's disk."""
        stream_id = uuid7()
        directory = self.hls / str(stream_id)
        await asyncio.to_thread(self._fill, directory, segments)
        await _at_most(
            PUTS_AT_ONCE,
            (
                self.objects.put_file(source_segment_key(stream_id, sequence), self.segment, SEGMENT)
                for sequence in range(segments - 1)
            ),
        )
        await self.pool.execute(
            "insert into segments (stream_id, sequence, duration_ms, size_bytes, discontinuity) "
            "select $1, n, $3, $4, n = 0 from generate_series(0, $2::integer - 2) as n",
            stream_id,
            segments,
            SEGMENT_MS,
            self.segment.stat().st_size,
        )
        await self.pool.execute("analyze segments")
        return stream_id

    def _fill(self, directory: Path, segments: int) -> None:
        directory.mkdir()
        for sequence in range(segments):
            (directory / f"{sequence}.ts").hardlink_to(self.segment)
        window = range(max(0, segments - WINDOW_SEGMENTS), segments)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-MEDIA-SEQUENCE:{window[0]}", "#EXT-X-TARGETDURATION:2"]
        lines += [f"#EXTINF:{SEGMENT_MS / 1000:.3f},\n{sequence}.ts" for sequence in window]
        (directory / INDEX).write_text("\n".join(lines) + "\n")

    async def reopen(self, stream_id: UUID, segments: int) -> None:
        """As it was when the stream ran: nothing is settled or published, the last segment is not shipped."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("delete from recordings where stream_id = $1", stream_id)
            await connection.execute("delete from renditions where stream_id = $1", stream_id)
            await connection.execute(
                "delete from segments where stream_id = $1 and sequence = $2 - 1", stream_id, segments
            )
            await store.note_started(
                connection,
                stream_id=stream_id,
                channel_id=CHANNEL,
                channel_name="ada",
                title="Engines",
                started_at=datetime.now(UTC),
            )
        for key in (master_key(stream_id), source_segment_key(stream_id, segments - 1)):
            await self.objects.delete(key)

    async def end_to_playable_ms(self, stream_id: UUID, segments: int) -> float:
        """From the end of the stream to the commit that says that the recording plays."""
        await self.reopen(stream_id, segments)
        recordings, outbox, runner = (
            Recordings(self.pool),
            Outbox(self.pool, source="archive"),
            ProcessRunner(without_network=False),
        )
        shipper = Shipper(self.hls, Shipments(self.pool), self.objects, runner, ShipperPace())
        source = SourceProbe(self.objects, runner, self.work)
        finaliser = Finaliser(recordings, outbox, self.objects, source, playback_path="/recordings")
        tasks = [asyncio.create_task(service.run()) for service in (shipper, finaliser)]
        try:
            # The shipper follows the stream when it has shipped its last segment.
            await _until(self.pool, "select count(*) = $2 from segments where stream_id = $1", stream_id, segments)
            async with outbox.transaction() as transaction:
                now = datetime.now(UTC)
                await store.note_ended(
                    transaction.connection,
                    stream_id=stream_id,
                    channel_id=CHANNEL,
                    started_at=now,
                    ended_at=now,
                    traceparent=None,
                )
            ended = time.perf_counter()
            await _until(self.pool, "select published_at is not null from recordings where stream_id = $1", stream_id)
            took_ms = (time.perf_counter() - ended) * 1000
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        playlist = await self.objects.get_bytes(f"{stream_id}/source/{INDEX}", bytes_max=1 << 24)
        if playlist.count(b".ts") != segments or await self.objects.head(master_key(stream_id)) is None:
            raise RuntimeError("what was published is not what was streamed")
        return took_ms


async def measure(directory: Path, say: Say) -> Outcome:
    """Every length on every store, a few times each."""
    figures: dict[str, float] = {}
    before = psutil.Process().cpu_times()
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ("postgres", "minio"), say=say)
    try:
        for kind in ("disk", "s3"):
            async with _scene(stack, directory, kind) as scene:
                for length, segments in LENGTHS.items():
                    stream_id = await scene.recorded(segments)
                    took = [await scene.end_to_playable_ms(stream_id, segments) for _ in range(ROUNDS)]
                    say(f"{kind}, {segments:,} segments: {', '.join(f'{ms:,.0f}' for ms in took)} ms")
                    figures[f"{kind}_{length}_median_ms"] = round(statistics.median(took))
                    figures[f"{kind}_{length}_max_ms"] = round(max(took))
    finally:
        await asyncio.to_thread(stack.down)
    after = psutil.Process().cpu_times()
    cpu_seconds = after.user + after.system - before.user - before.system
    return Outcome(figures, processes=1, cpu_seconds=round(cpu_seconds, 2))


@asynccontextmanager
async def _scene(stack: Stack, directory: Path, kind: str) -> AsyncIterator[Scene]:
    environment = stack.environment()
    dsn = SecretStr(environment["LIVESTREAM_POSTGRES_DSN"])
    await migrate(dsn)
    folder = directory / f"{kind}-{uuid7()}"
    for name in ("hls", "work"):
        (folder / name).mkdir(parents=True)
    await asyncio.to_thread(_make_segment, folder / "segment.ts")
    place = S3Place(
        environment["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        f"bench{uuid7().hex}",
        SecretStr(environment["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"]),
        SecretStr(environment["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"]),
    )
    objects = DiskObjects(folder / "objects") if kind == "disk" else S3Objects(place, public_read=True)
    async with open_pool(PostgresSettings(postgres_dsn=dsn), schema="archive") as pool, objects:
        yield Scene(pool, objects, folder / "hls", folder / "work", folder / "segment.ts")


def _make_segment(path: Path) -> None:
    """2 s of a small still picture with silence, a few KB."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=size=160x90:rate=15:duration=2"]
    argv += ["-f", "lavfi", "-i", "anullsrc=r=48000", "-t", "2", "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*argv, "-c:a", "aac", "-b:a", "8k", "-f", "mpegts", str(path)], check=True, timeout=60)


async def _until(pool: Pool, condition: str, *arguments: object) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not await pool.fetchval(condition, *arguments):
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        await asyncio.sleep(0.005)


async def _at_most(at_once: int, work: Iterable[Awaitable[object]]) -> None:
    """Do all of ``work``, some of it at the same time."""
    queue = iter(work)

    async def take() -> None:
        for one in queue:
            await one

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(take())


BENCH = Bench(
    name="archive_playable",
    description="End of a stream to its recording playing: 30, 1,800 and 18,000 segments, on a disk and on S3.",
    bars=BARS,
    measure=measure,
)
