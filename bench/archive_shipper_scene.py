"""What the bench of the shipper runs on: a shipper process of its own, and streams that close segments on time."""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from asyncio.subprocess import create_subprocess_exec
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import boto3
import psutil
from botocore.config import Config

from deploy.local import Stack
from deploy.local.places import CHECKOUT
from runtime.ids import uuid7
from runtime.postgres import Pool

SEGMENT_BYTES: Final = 625_000
SEGMENT_SECONDS: Final = 2.0
WINDOW_SEGMENTS: Final = 15
PREPARED: Final = 8
READY_SECONDS_MAX: Final = 60.0
TICK_SECONDS: Final = 0.01
CATCH_UP_SECONDS: Final = 3.0


@dataclass
class SimulatedStream:
    """One stream's directory, written as a media server does; a segment is a link to one of a few prepared files."""

    directory: Path
    files: Sequence[Path]
    closed_at: list[float] = field(default_factory=list)
    window_segments: int = WINDOW_SEGMENTS

    @property
    def stream_id(self) -> UUID:
        """Whose directory it is."""
        return UUID(self.directory.name)

    def close(self) -> None:
        """Close the next segment, then name it."""
        number = len(self.closed_at)
        if number == 0:
            self.directory.mkdir(parents=True)
        os.link(self.files[number % len(self.files)], self.directory / f"{number}.ts")
        window = range(max(0, number + 1 - self.window_segments), number + 1)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-MEDIA-SEQUENCE:{window[0]}", "#EXT-X-TARGETDURATION:2"]
        lines += [f"#EXTINF:{SEGMENT_SECONDS:.3f},\n{named}.ts" for named in window]
        unfinished = self.directory / "index.m3u8.bak"
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self.directory / "index.m3u8")
        self.closed_at.append(time.time())


@dataclass(frozen=True)
class Shipped:
    """What a shipper did with some streams while they ran, and until it had caught up or was given up on."""

    lags_seconds: Sequence[float]
    """Of every segment that was closed after the first seconds; one that was not shipped has the time it waited."""
    segments_per_second: float
    cpu_cores: float
    rss_bytes: int


def prepared_files(directory: Path) -> list[Path]:
    """Segments of the size that 2.5 Mbit/s make in 2 s."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"prepared-{number}.ts" for number in range(PREPARED)]
    for path in paths:
        path.write_bytes(os.urandom(SEGMENT_BYTES))
    return paths


def client_of(environment: Mapping[str, str], connections: int) -> Any:  # noqa: ANN401  boto3 makes its classes at run time
    """A plain client of the stack's store."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=environment["LIVESTREAM_ARCHIVE_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=environment["LIVESTREAM_ARCHIVE_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY"],
        config=Config(max_pool_connections=connections, s3={"addressing_style": "path"}),
    )


def plain_puts_per_second(client: Any, bucket: str, path: Path, *, threads: int, seconds: float) -> float:  # noqa: ANN401  see above
    """Puts a second of one segment under keys of their own, as fast as so many threads can."""
    body = path.read_bytes()
    folder, numbers = uuid7(), count()
    until = time.monotonic() + seconds

    def put() -> int:
        done = 0
        while time.monotonic() < until:
            client.put_object(
                Bucket=bucket, Key=f"{folder}/source/{next(numbers)}.ts", Body=body, ContentType="video/mp2t"
            )
            done += 1
        return done

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(future.result() for future in [pool.submit(put) for _ in range(threads)])
    return done / (time.monotonic() - began)


def empty(client: Any, bucket: str) -> None:  # noqa: ANN401  see above
    """Remove every object: the disk is others', too."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        if named := [{"Key": item["Key"]} for item in page.get("Contents", [])]:
            client.delete_objects(Bucket=bucket, Delete={"Objects": named})


@contextlib.asynccontextmanager
async def running_shipper(stack: Stack, hls: Path, bucket: str) -> AsyncIterator[psutil.Process]:
    """A shipper process with the settings of production; ready on entering, stopped on leaving."""
    environment = {
        **os.environ,
        **stack.environment(),
        "LIVESTREAM_ARCHIVE_HLS_DIRECTORY": str(hls),
        "LIVESTREAM_ARCHIVE_S3_BUCKET": bucket,
        "LIVESTREAM_HTTP_PORT": "0",
    }
    log = hls.parent / "shipper.log"
    with log.open("wb") as output:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "archive", "shipper"), cwd=CHECKOUT, env=environment, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await _listening(log)
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(log: Path) -> None:
    while True:
        if b"http_listening" in await asyncio.to_thread(log.read_bytes):
            return
        await asyncio.sleep(0.1)


async def ship(
    stack: Stack, pool: Pool, directory: Path, bucket: str, streams: int, *, warm_seconds: float, seconds: float
) -> Shipped:
    """So many streams for so long, each with a segment every 2 s at its own moment."""
    hls = directory / f"hls-{uuid7()}"
    hls.mkdir(parents=True)
    files = prepared_files(directory)
    try:
        async with running_shipper(stack, hls, bucket) as process:
            simulated = [SimulatedStream(hls / str(uuid7()), files) for _ in range(streams)]
            await _stream(simulated, warm_seconds)
            cpu = _cpu_seconds(process)
            counted_from = time.time()
            await _stream(simulated, seconds)
            counted_to = time.time()
            cores = (_cpu_seconds(process) - cpu) / (counted_to - counted_from)
            rss_bytes = process.memory_info().rss
            await asyncio.sleep(CATCH_UP_SECONDS)
            rows = await pool.fetch("select stream_id, sequence, shipped_at from segments")
    finally:
        await asyncio.to_thread(shutil.rmtree, hls, ignore_errors=True)
        await pool.execute("truncate segments, lost_segments")
    return _shipped(simulated, [dict(row) for row in rows], counted_from, counted_to, cores, rss_bytes)


def _shipped(
    simulated: Sequence[SimulatedStream],
    rows: Sequence[Mapping[str, Any]],
    counted_from: float,
    counted_to: float,
    cores: float,
    rss_bytes: int,
) -> Shipped:
    at: dict[tuple[UUID, int], datetime] = {(row["stream_id"], row["sequence"]): row["shipped_at"] for row in rows}
    now = time.time()
    lags = []
    for stream in simulated:
        for number, closed_at in enumerate(stream.closed_at):
            if counted_from <= closed_at <= counted_to:
                shipped_at = at.get((stream.stream_id, number))
                lags.append((now if shipped_at is None else shipped_at.timestamp()) - closed_at)
    done = sum(1 for shipped_at in at.values() if counted_from <= shipped_at.timestamp() <= counted_to)
    return Shipped(lags, done / (counted_to - counted_from), cores, rss_bytes)


async def _stream(simulated: Sequence[SimulatedStream], seconds: float) -> None:
    """Close what is due; streams are spread over the length of a segment."""
    began = time.monotonic()
    due = deque((began + SEGMENT_SECONDS * place / len(simulated), stream) for place, stream in enumerate(simulated))
    while time.monotonic() < began + seconds:
        for _ in range(len(due)):
            at, stream = due[0]
            if at > time.monotonic():
                break
            due.popleft()
            stream.close()
            due.append((at + SEGMENT_SECONDS, stream))
        await asyncio.sleep(TICK_SECONDS)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
