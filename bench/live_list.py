"""How many live lists a second: from one process of streaming on one core, and through the edge's cache.

500 live streams (and the rows of 180,000 that are over) in a real Postgres. `wrk` asks from the other core, over 32
connections that stay. Through the edge the same bytes are also served as a file, in turns, in the same nginx: what
nginx can do at most on this machine.
"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

import aiohttp
import psutil
from pydantic import SecretStr

from bench.cores import cores, cpu_seconds, pin
from bench.report import Bar, Bench, Outcome, Say
from deploy.local import Stack
from deploy.local.places import CHECKOUT
from runtime.ids import uuid7
from runtime.postgres import connect

LIVE_STREAMS: Final = 500
ENDED_STREAMS: Final = 180_000
CONNECTIONS: Final = 32
WARM_UP_SECONDS: Final = 2
SECONDS: Final = 8
TURN_SECONDS: Final = 4
TURNS: Final = 2
SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
PORT_BASE: Final = 21_500
PARTS: Final = ("postgres", "redis", "kafka", "nginx", "accounts", "streaming")
PATH: Final = "/api/streams"

BARS: Final = (
    Bar("requests_per_second", ">=", 5_000),
    Bar("p95_ms", "<=", 20),
    Bar("edge_share_of_a_file", ">=", 0.5),
)

# wrk tells no 95th percentile by itself; its times are microseconds.
_SCRIPT: Final = """
done = function(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(95), failed))
end
"""

_CHANNELS: Final = """
INSERT INTO channels (channel_id, name, stream_key_hash)
SELECT gen_random_uuid(), 'channel ' || number, sha256(number::text::bytea)
  FROM generate_series(1, $1::integer) AS number
"""
# Of this month, so that they lie where the live ones do.
_ENDED: Final = """
INSERT INTO streams (stream_id, channel_id, title, status, started_at, ended_at, end_reason)
SELECT overlay(gen_random_uuid()::text placing left(first_id_of(now())::text, 13) from 1)::uuid, channel_id,
       'A stream that is over', 'ended', now(), now(), 'streamer'
  FROM (SELECT channel_id, row_number() OVER () AS number FROM channels) AS numbered
 CROSS JOIN generate_series(1, $1::integer / $2::integer)
"""
_LIVE: Final = """
INSERT INTO streams (stream_id, channel_id, title, category, status, started_at)
SELECT id, channel_id, 'Building a streaming service, part ' || number, 'programming', 'live',
       now() - number * interval '1s'
  FROM (SELECT channel_id, row_number() OVER () AS number FROM channels) AS numbered
  JOIN unnest($1::uuid[]) WITH ORDINALITY AS made (id, place) ON place = number
"""


@dataclass(frozen=True)
class Load:
    """What wrk has measured."""

    per_second: float
    p50_ms: float
    p95_ms: float


async def measure(directory: Path, say: Say) -> Outcome:
    """Start what is needed below `directory`, measure the service and the edge, stop it again."""
    if shutil.which("wrk") is None:
        raise SystemExit("this bench needs wrk: apt-get install wrk")
    stack = Stack(directory, port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, PARTS, say=say)
    try:
        await _fill(stack, say)
        (directory / "wrk.lua").write_text(_SCRIPT)
        service = psutil.Process(stack.pid("streaming"))
        before = cpu_seconds(service)
        figures, body = await _measure_service(stack, directory, say)
        used = cpu_seconds(service) - before
        figures |= await _measure_edge(stack, directory, body, say)
        return Outcome(figures, 1, round(used, 2))
    finally:
        await asyncio.to_thread(stack.down)


async def _fill(stack: Stack, say: Say) -> None:
    say(f"{LIVE_STREAMS} live streams, {ENDED_STREAMS:,} that are over")
    connection = await connect(
        SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"]), schema="streaming", command_timeout_seconds=120
    )
    try:
        await connection.execute("TRUNCATE streams")
        await connection.execute("DELETE FROM channels")
        await connection.execute(_CHANNELS, LIVE_STREAMS)
        await connection.execute(_ENDED, ENDED_STREAMS, LIVE_STREAMS)
        await connection.execute(_LIVE, [uuid7() for _ in range(LIVE_STREAMS)])
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def _measure_service(stack: Stack, directory: Path, say: Say) -> tuple[dict[str, float], bytes]:
    pin(stack.pid("streaming"), SERVER_CORE)
    url = f"http://127.0.0.1:{stack.ports['streaming']}{PATH}"
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as session, session.get(url) as answer:
        answer.raise_for_status()
        body = await answer.read()
    await _load(url, directory, WARM_UP_SECONDS)
    load = await _load(url, directory, SECONDS)
    say(f"service: {load.per_second:,.0f} a second, p95 {load.p95_ms:.1f} ms, {len(body):,} bytes each")
    figures = {
        "requests_per_second": round(load.per_second),
        "p50_ms": load.p50_ms,
        "p95_ms": load.p95_ms,
        "answer_bytes": len(body),
    }
    return figures, body


async def _measure_edge(stack: Stack, directory: Path, body: bytes, say: Say) -> dict[str, float]:
    nginx = psutil.Process(stack.pid("nginx"))
    for process in (nginx, *nginx.children(recursive=True)):
        pin(process.pid, SERVER_CORE)
    # Among what the page loads: the plainest way that this nginx serves a file, with nobody to be asked first.
    file = CHECKOUT / f"web/vendor/bench-{uuid4()}.json"
    file.write_bytes(body)
    edge = f"http://127.0.0.1:{stack.ports['edge']}"
    cached, as_file = [], []
    try:
        for turn in range(TURNS):
            cached.append((await _load(edge + PATH, directory, TURN_SECONDS)).per_second)
            as_file.append((await _load(f"{edge}/vendor/{file.name}", directory, TURN_SECONDS)).per_second)
            say(f"edge, turn {turn + 1} of {TURNS}: {cached[-1]:,.0f} a second, as a file {as_file[-1]:,.0f}")
    finally:
        file.unlink()
    return {
        "edge_requests_per_second": round(median(cached)),
        "file_requests_per_second": round(median(as_file)),
        "edge_share_of_a_file": round(median(cached) / median(as_file), 3),
    }


async def _load(url: str, directory: Path, seconds: int) -> Load:
    """Ask for `seconds` from the client's core; raises RuntimeError when an answer is not the list."""
    argv = ["taskset", "-c", str(CLIENT_CORE % cores()), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    done = await asyncio.to_thread(_run, [*argv, "-s", str(directory / "wrk.lua"), url], seconds + 30)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", done, re.MULTILINE)
    if found is None or int(found[5]):
        raise RuntimeError(f"wrk: {done.strip()}")
    requests, micros, p50, p95, _ = (int(part) for part in found.groups())
    return Load(requests / micros * 1e6, round(p50 / 1000, 2), round(p95 / 1000, 2))


def _run(argv: Sequence[str], seconds_max: float) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds_max).stdout


BENCH: Final = Bench(
    name="live_list",
    description="500 live streams: lists a second from one process on one core, and from the edge next to a file.",
    bars=BARS,
    measure=measure,
)
