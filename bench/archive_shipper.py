"""How many streams one shipper ships within 2 s of a segment's closing, and what that takes.

Segments of 625 KB every 2 s (2.5 Mbit/s) go to a MinIO on the same machine. Its own limit is measured in the same run,
by plain puts of the same segments: the disk and the two servers share the machine with us. Last, a stream of ten hours
as fast as it goes, for the memory.
"""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bench.archive_shipper_scene import (
    SEGMENT_BYTES,
    SEGMENT_SECONDS,
    Shipped,
    client_of,
    empty,
    plain_puts_per_second,
    prepared_files,
    ship,
)
from bench.report import Bar, Bench, Outcome, Say, percentile
from deploy.local import Stack
from deploy.local.places import CHECKOUT
from runtime.ids import uuid7
from runtime.migrations import migrate
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings

PORT_BASE: Final = 22_700
STREAMS: Final = 500
LAG_SECONDS_MAX: Final = 2.0
PLAIN_THREADS: Final = (8, 16)
PLAIN_SECONDS: Final = 5.0
WARM_SECONDS: Final = 4.0
SHIP_SECONDS: Final = 10.0
# Of what plain puts reach; the first that keeps the lag is the limit.
SHARES: Final = (0.9, 0.7, 0.5)
MEMORY_SECONDS_MAX: Final = 240.0
GROWTH_MB_MAX: Final = 16

BARS = (
    Bar("lag_at_limit_p99_seconds", "<=", LAG_SECONDS_MAX),
    Bar("throughput_to_plain_puts_ratio", ">=", 0.7),
    Bar("memory_growth_in_10_hours_mb", "<=", GROWTH_MB_MAX),
)


async def measure(directory: Path, say: Say) -> Outcome:
    """Start the stack below `directory`, measure, remove what was stored, stop it again."""
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, ("postgres", "minio"), say=say)
    try:
        dsn = SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"])
        await migrate(dsn)
        await asyncio.to_thread(shutil.rmtree, directory / "streams", ignore_errors=True)
        async with open_pool(PostgresSettings(postgres_dsn=dsn), schema="archive") as pool:
            return await _measure(stack, pool, directory / "streams", say)
    finally:
        await asyncio.to_thread(stack.down)


async def _measure(stack: Stack, pool: Pool, directory: Path, say: Say) -> Outcome:
    bucket = f"bench{uuid7().hex}"
    client = client_of(stack.environment(), max(PLAIN_THREADS))
    client.create_bucket(Bucket=bucket)
    try:
        segment = prepared_files(directory)[0]
        before = await _plain(client, bucket, segment, say)
        streams, limit = await _limit(stack, pool, directory, bucket, before, say)
        await asyncio.to_thread(empty, client, bucket)
        full = limit
        if streams < STREAMS:
            full = await _ship(stack, pool, directory, bucket, STREAMS, say)
            await asyncio.to_thread(empty, client, bucket)
        # The disk is not the same from minute to minute: what we did was in between.
        plain = (before + await _plain(client, bucket, segment, say)) / 2
    finally:
        await asyncio.to_thread(empty, client, bucket)
        client.delete_bucket(Bucket=bucket)
    grown_mb, rss_mb = await _memory(stack, directory, say)
    figures = {
        "limit_streams": float(streams),
        "lag_at_limit_p50_seconds": round(percentile(limit.lags_seconds, 0.5), 2),
        "lag_at_limit_p99_seconds": round(percentile(limit.lags_seconds, 0.99), 2),
        "cores_per_100_streams": round(limit.cpu_cores / streams * 100, 3),
        "lag_of_500_streams_p50_seconds": round(percentile(full.lags_seconds, 0.5), 2),
        "lag_of_500_streams_p99_seconds": round(percentile(full.lags_seconds, 0.99), 2),
        "segments_per_second_of_500_streams": round(full.segments_per_second, 1),
        "throughput_to_plain_puts_ratio": round(full.segments_per_second / plain, 2),
        "rss_of_500_streams_mb": round(full.rss_bytes / 1e6, 1),
        "memory_growth_in_10_hours_mb": round(grown_mb, 1),
        "rss_after_10_hours_mb": round(rss_mb, 1),
    }
    peers = {"plain_puts_per_second": round(plain, 1), "plain_puts_mb_per_second": round(plain * SEGMENT_BYTES / 1e6)}
    cpu_seconds = limit.cpu_cores * SHIP_SECONDS + full.cpu_cores * SHIP_SECONDS
    return Outcome(figures, processes=1, cpu_seconds=round(cpu_seconds, 2), peers=peers)


async def _plain(client: Any, bucket: str, segment: Path, say: Say) -> float:  # noqa: ANN401  boto3 makes its classes at run time
    """What the store takes from the plainest of clients, with the number of threads that suits it."""
    best = 0.0
    for threads in PLAIN_THREADS:
        reached = await asyncio.to_thread(
            plain_puts_per_second, client, bucket, segment, threads=threads, seconds=PLAIN_SECONDS
        )
        say(f"plain puts, {threads} threads: {reached:.0f} a second, {reached * SEGMENT_BYTES / 1e6:.0f} MB/s")
        best = max(best, reached)
        await asyncio.to_thread(empty, client, bucket)
    return best


async def _limit(stack: Stack, pool: Pool, directory: Path, bucket: str, plain: float, say: Say) -> tuple[int, Shipped]:
    """The most streams, of a few numbers, whose segments are shipped in time."""
    client = client_of(stack.environment(), 1)
    for share in SHARES:
        streams = min(STREAMS, max(1, int(plain * share * SEGMENT_SECONDS)))
        shipped = await _ship(stack, pool, directory, bucket, streams, say)
        if percentile(shipped.lags_seconds, 0.99) <= LAG_SECONDS_MAX:
            break
        await asyncio.to_thread(empty, client, bucket)
    return streams, shipped


async def _ship(stack: Stack, pool: Pool, directory: Path, bucket: str, streams: int, say: Say) -> Shipped:
    shipped = await ship(stack, pool, directory, bucket, streams, warm_seconds=WARM_SECONDS, seconds=SHIP_SECONDS)
    say(
        f"{streams} streams: lag p50 {percentile(shipped.lags_seconds, 0.5):.2f} s,"
        f" p99 {percentile(shipped.lags_seconds, 0.99):.2f} s, {shipped.segments_per_second:.0f} segments a second,"
        f" {shipped.cpu_cores:.2f} cores"
    )
    return shipped


async def _memory(stack: Stack, directory: Path, say: Say) -> tuple[float, float]:
    """Growth of a shipper's memory over ten hours, and what it is then; in MB."""
    say("a stream of ten hours: 18,000 segments")
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "bench.archive_shipper_hours", str(directory / "hours")),
        cwd=CHECKOUT,
        env={**stack.environment(), "PATH": "/usr/bin:/bin"},
        stdout=PIPE,
    )
    try:
        async with asyncio.timeout(MEMORY_SECONDS_MAX):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    early, late = (int(word) for word in told.split())
    say(f"{early / 1e6:.1f} MB after the first hour, {late / 1e6:.1f} MB after the tenth")
    return (late - early) / 1e6, late / 1e6


BENCH = Bench(
    name="archive_shipper",
    description="Streams whose segments are in a local store within 2 s, beside plain puts; memory over ten hours.",
    bars=BARS,
    measure=measure,
)
