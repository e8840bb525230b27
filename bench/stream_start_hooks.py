"""Hooks as nginx-rtmp sends them, straight to streaming: many starts beside streams that are on, and a reconnect storm.

- 500 streams are on for the whole time: each of their publishers is asked after every 5 s, as nginx-rtmp does.
- Hooks are sent at their planned times whether or not earlier ones were answered, and are timed from the plan, so that
  a slow answer delays nobody's clock. Every start is a first publish of another channel: a stream and its event.
- The storm is a media server's restart: nothing more is heard of the 500, and all publish again within 2 s, with
  numbers that begin at one again and stand for other channels than before. Each takes over from its session of before,
  so the media server is looked at. The storm is drained when the last is answered; who is refused, or gets another
  stream, is counted.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydantic import SecretStr

from bench.report import Say, percentile
from deploy.local import Stack
from runtime.postgres import connect
from streaming.channels.keys import digest, make_key

STARTS_PER_SECOND: Final = 50
STARTS_SECONDS: Final = 20
LIVE_STREAMS: Final = 500
LIVE_STARTS_PER_SECOND: Final = 100
UPDATE_SECONDS: Final = 5
STORM_SECONDS: Final = 2
HOOK_SECONDS_MAX: Final = 10.0
ACCEPTED: Final = 302

BARS: Final = {
    "hook_p99_ms": 50.0,
    "storm_drained_s": 5.0,
    "storm_refused": 0.0,
    "storm_in_another_stream": 0.0,
}


@dataclass(frozen=True)
class Answered:
    """A publish and its answer."""

    seconds: float
    """From its planned time to its answer."""
    status: int
    stream: str
    """Where the video is to be pushed."""


async def measure_hooks(stack: Stack, say: Say) -> dict[str, float]:
    """The figures of starts beside streams that are on, and of the storm."""
    live = await make_channels(stack, LIVE_STREAMS)
    starting = await make_channels(stack, STARTS_PER_SECOND * STARTS_SECONDS)
    say(f"hooks: {LIVE_STREAMS} streams on, then {STARTS_PER_SECOND} starts a second for {STARTS_SECONDS} s")
    before = await publish_all(stack, live, per_second=LIVE_STARTS_PER_SECOND, first_client=1)
    async with _asked_after(stack, live):
        seconds = await send_hooks(stack, starting)
    say(f"storm: {LIVE_STREAMS} publishers come back within {STORM_SECONDS} s")
    storm = await _storm(stack, live, before)
    return {
        "live_streams": float(LIVE_STREAMS),
        "hook_starts": float(len(seconds)),
        "hook_starts_per_second": float(STARTS_PER_SECOND),
        "hook_p50_ms": _ms(percentile(seconds, 0.5)),
        "hook_p99_ms": _ms(percentile(seconds, 0.99)),
        "hook_max_ms": _ms(max(seconds)),
        **storm,
    }


async def make_channels(stack: Stack, count: int) -> list[str]:
    """Make channels of nobody in particular; their stream keys."""
    keys = [make_key() for _ in range(count)]
    connection = await connect(SecretStr(stack.environment()["LIVESTREAM_POSTGRES_DSN"]), schema="streaming")
    try:
        await connection.executemany(
            "INSERT INTO channels (channel_id, name, stream_key_hash) VALUES ($1, $2, $3)",
            [(uuid4(), f"bench{number}", digest(key)) for number, key in enumerate(keys)],
        )
    finally:
        await connection.close()
    return keys


async def send_hooks(stack: Stack, keys: Sequence[str]) -> list[float]:
    """Publish with every key at its planned time; the seconds from there to each answer, which must be yes."""
    answers = await publish_all(stack, keys, per_second=STARTS_PER_SECOND, first_client=1_000_000)
    for answer in answers:
        if answer.status != ACCEPTED:
            raise RuntimeError(f"a hook was answered {answer.status} instead of {ACCEPTED}")
    return [answer.seconds for answer in answers]


async def publish_all(stack: Stack, keys: Sequence[str], *, per_second: float, first_client: int) -> list[Answered]:
    """Publish with every key at its planned time, as clients with numbers from `first_client` on."""
    hooks, began = _Hooks(stack), time.perf_counter() + 0.1

    async def one(number: int, key: str) -> Answered:
        planned = began + number / per_second
        await asyncio.sleep(planned - time.perf_counter())
        status, stream = await hooks.post(f"clientid={first_client + number}&call=publish&name={key}&type=live")
        return Answered(time.perf_counter() - planned, status, stream)

    return list(await asyncio.gather(*(one(number, key) for number, key in enumerate(keys))))


async def _storm(stack: Stack, keys: Sequence[str], before: Sequence[Answered]) -> dict[str, float]:
    was = {key: answer.stream for key, answer in zip(keys, before, strict=True)}
    order = random.Random(8).sample(list(keys), len(keys))
    began = time.perf_counter()
    answers = await publish_all(stack, order, per_second=len(order) / STORM_SECONDS, first_client=1)
    drained = time.perf_counter() - began
    seconds = [answer.seconds for answer in answers]
    accepted = [(key, answer) for key, answer in zip(order, answers, strict=True) if answer.status == ACCEPTED]
    return {
        "storm_publishers": float(len(order)),
        "storm_drained_s": round(drained, 2),
        "storm_p50_ms": _ms(percentile(seconds, 0.5)),
        "storm_p99_ms": _ms(percentile(seconds, 0.99)),
        "storm_refused": float(len(order) - len(accepted)),
        "storm_in_another_stream": float(sum(answer.stream != was[key] for key, answer in accepted)),
    }


@asynccontextmanager
async def _asked_after(stack: Stack, keys: Sequence[str]) -> AsyncIterator[None]:
    """While in it, the publishers of these keys are asked after, spread over the interval; each must be let go on."""
    hooks = _Hooks(stack)

    async def one(number: int, key: str) -> None:
        await asyncio.sleep(UPDATE_SECONDS * number / len(keys))
        began = time.perf_counter()
        while True:
            at = round(time.perf_counter() - began) + UPDATE_SECONDS
            status, _ = await hooks.post(
                f"clientid={1 + number}&call=update_publish&time={at}&timestamp={at * 1_000}&name={key}"
            )
            if status != 200:
                raise RuntimeError(f"a publisher's update was answered {status}")
            await asyncio.sleep(UPDATE_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(one(number, key)) for number, key in enumerate(keys)]
        yield
        for task in asking:
            task.cancel()


class _Hooks:
    """Sends hooks to a stack's streaming service."""

    def __init__(self, stack: Stack) -> None:
        self._port = stack.ports["streaming"]
        self._secret = stack.environment()["LIVESTREAM_STREAMING_INGEST_SECRET"]

    async def post(self, fields: str) -> tuple[int, str]:
        """One hook as nginx-rtmp sends it, on a connection of its own: the answer's status and its Location."""
        body = f"app=live&flashver=FMLE/3.0&swfurl=&tcurl=rtmp://127.0.0.1/live&pageurl=&addr=127.0.0.1&{fields}"
        head = (
            f"POST /hooks/ingest/nginx-rtmp/{self._secret} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: Close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with asyncio.timeout(HOOK_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write((head + body).encode())
            answer = (await reader.read()).decode()
            writer.close()
        locations = [line.partition(":")[2].strip() for line in answer.split("\r\n") if line.startswith("Location:")]
        return int(answer.split(maxsplit=2)[1]), locations[0] if locations else ""


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)
