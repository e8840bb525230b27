"""50,000 viewers who say every 20 s that they watch, to one process of streaming on one core, and how they are counted.

500 live streams; a fifth of the viewers watch one of them. Each says so at its planned time, whether or not others were
answered, first with the cookie of its first heartbeat and 20 s later with the next. The sender and Redis have the other
core.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import psutil
from pydantic import SecretStr
from redis.asyncio import Redis

from bench.cores import cores, cpu_seconds, pin
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from runtime.ids import uuid7
from runtime.postgres import connect
from runtime.redis_batches import RedisBatches
from streaming.viewers.api import COOKIE
from streaming.viewers.counts import ViewerCounts
from streaming.viewers.watching import ID_BYTES, INTERVAL, ViewerCookies, Watching

VIEWERS: Final = 50_000
STREAMS: Final = 500
IN_ONE_STREAM: Final = VIEWERS // 5
OF_ADDRESS: Final = 25
ROUNDS: Final = 2
ROUND_SECONDS: Final = INTERVAL.total_seconds()
LEAD_SECONDS: Final = 4.0
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
PORT_BASE: Final = 21_600
PARTS: Final = ("postgres", "redis", "kafka", "nginx", "accounts", "streaming")

BARS: Final = (
    Bar("p95_ms", "<=", 50),
    Bar("count_error_percent", "<=", 1),
    Bar("unique_error_percent", "<=", 1),
    Bar("refused", "<=", 0),
)

_CHANNELS: Final = """
INSERT INTO channels (channel_id, name)
SELECT id, 'channel ' || place FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, place)
"""
_LIVE: Final = """
INSERT INTO streams (stream_id, channel_id, title, status, started_at)
SELECT id, id, 'On', 'live', now() FROM unnest($1::uuid[]) AS id
"""
_OPEN: Final = """
INSERT INTO open_streams
    (channel_id, stream_id, status, key_hash, server, client, started_at, session_started_at, seen_at)
SELECT id, id, 'live', sha256(id::text::bytea), 'bench', place, now(), now(), now() + interval '1 hour'
  FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, place)
"""


@dataclass(frozen=True)
class Crowd:
    """Who watches what."""

    streams: Sequence[UUID]

    def stream_of(self, viewer: int) -> UUID:
        """The one that a fifth watches, or any of the others."""
        return self.streams[0] if viewer < IN_ONE_STREAM else self.streams[1 + viewer % (len(self.streams) - 1)]

    def requests(self, cookies: ViewerCookies, begin_at: float, round_: int) -> Iterator[bytes]:
        """One heartbeat of everybody, all of the same length. They come in an order that mixes streams."""
        for place in range(VIEWERS):
            viewer = place * 7_919 % VIEWERS  # a prime: everybody once
            stream_id = self.stream_of(viewer)
            before = int(begin_at + (round_ - 1) * ROUND_SECONDS + place * ROUND_SECONDS / VIEWERS)
            watching = Watching(
                viewer.to_bytes(ID_BYTES, "big"), before - round_ * 20, before, round_ * 20_000, round_ > 0
            )
            address = viewer // OF_ADDRESS
            body = f'{{"position_seconds":{1_000 + 20 * (round_ + 1)}.5}}'
            yield (
                f"POST /api/streams/{stream_id}/heartbeat HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                f"X-Forwarded-For: 10.{100 + address // 100:03d}.{100 + address % 100:03d}.1\r\n"
                f"Cookie: {COOKIE}={cookies.write(stream_id, watching)}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode()


async def measure(directory: Path, say: Say) -> Outcome:
    """Start what is needed below `directory`, let everybody say twice that they watch, count, stop it again."""
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, PARTS, say=say)
    try:
        crowd = Crowd([uuid7() for _ in range(STREAMS)])
        await _fill(stack, crowd)
        streaming = psutil.Process(stack.pid("streaming"))
        pin(streaming.pid, SERVER_CORE)
        pin(stack.pid("redis"), CLIENT_CORE)
        cookies = ViewerCookies(stack.environment()["LIVESTREAM_STREAMING_VIEWER_SECRET"].encode())
        say(f"{VIEWERS:,} viewers of {STREAMS} streams, {ROUNDS} heartbeats each")
        before = cpu_seconds(streaming)
        answered = await _send(stack, directory, crowd, cookies)
        used = cpu_seconds(streaming) - before
        figures = answered | await _count(stack, crowd)
        figures["cpu_micros_a_heartbeat"] = round(used / (VIEWERS * ROUNDS) * 1e6)
        figures["core_share"] = round(used / (ROUNDS * ROUND_SECONDS), 3)
        return Outcome(figures, 1, round(used, 2))
    finally:
        await asyncio.to_thread(stack.down)


async def _fill(stack: Stack, crowd: Crowd) -> None:
    connection = await connect(SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"]), schema="streaming")
    try:
        for table in ("open_streams", "stream_stats", "streams", "channels"):
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608  names of our own
        for statement in (_CHANNELS, _LIVE, _OPEN):
            await connection.execute(statement, crowd.streams)
    finally:
        await connection.close()


async def _send(stack: Stack, directory: Path, crowd: Crowd, cookies: ViewerCookies) -> dict[str, float]:
    """All rounds in a process of its own; what it has measured."""
    begin_at = time.time() + LEAD_SECONDS + VIEWERS * ROUNDS * 3e-5
    prepared = [one for round_ in range(ROUNDS) for one in crowd.requests(cookies, begin_at, round_)]
    sizes = {len(one) for one in prepared}
    if len(sizes) != 1:
        raise RuntimeError(f"requests of different lengths: {sizes}")
    file = directory / "heartbeats"
    await asyncio.to_thread(file.write_bytes, b"".join(prepared))
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", str(CLIENT_CORE % cores()), sys.executable, "-m", "bench.heartbeats_sender"),
        *(str(stack.ports["streaming"]), str(file), str(sizes.pop()), str(VIEWERS / ROUND_SECONDS), str(begin_at)),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(ROUNDS * ROUND_SECONDS + 60):
        said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the sender ended with {process.returncode}")
    answered: dict[str, float] = json.loads(said)
    return answered


async def _count(stack: Stack, crowd: Crowd) -> dict[str, float]:
    """How far the counts are from the truth, in percent: who watches now, and how many different ones did."""
    async with Redis.from_url(stack.environment()["LIVESTREAM_REDIS_URL"]) as redis:
        counts = ViewerCounts(RedisBatches(redis), viewers_of_address_max=OF_ADDRESS)
        counted = await asyncio.gather(*(counts.count(stream_id) for stream_id in crowd.streams))
    viewers, unique = (sum(one.viewers for one in counted), sum(one.unique_viewers for one in counted))
    return {
        "counted": viewers,
        "count_error_percent": round(abs(viewers - VIEWERS) / VIEWERS * 100, 3),
        "unique_error_percent": round(abs(unique - VIEWERS) / VIEWERS * 100, 3),
    }


BENCH: Final = Bench(
    name="heartbeats",
    description="50,000 viewers at 20 s on one process on one core: answers' times, and how right the counts are.",
    bars=BARS,
    measure=measure,
)
