"""How fast a stream starts: the hook's answer beside 500 streams, and the notice at the last of 20 followers.

Both run on the whole path: Postgres, Kafka, Redis, nginx-rtmp, and accounts, streaming and notify as processes of their
own, in a stack that the bench keeps for itself.

- Hooks, and a storm of reconnects: `stream_start_hooks.py` says how.
- The notice is timed from the moment when ffmpeg's publish command passes on its way to nginx (a relay in between looks
  for it) to the moment when the last of the followers has read it from its event stream.
"""

import asyncio
import contextlib
import json
import os
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import psutil

from bench import stream_start_hooks
from bench.report import Outcome, Say, percentile
from bench.stream_start_hooks import measure_hooks
from console.demo.people import Origin, Person
from deploy.local import Stack

FOLLOWERS: Final = 20
ROUNDS: Final = 20
ROUND_SECONDS_MAX: Final = 15.0
PORT_BASE: Final = 21_000
PARTS: Final = ("postgres", "redis", "kafka", "nginx", "accounts", "streaming", "notify")
SERVICES: Final = ("accounts", "streaming", "notify")

EVERY_START_IS_TOLD: Final = {
    "LIVESTREAM_NOTIFY_COOL_DOWN_SECONDS": "0",
    "LIVESTREAM_NOTIFY_FANOUTS_PER_DAY_MAX": "1000",
}
"""Settings of notify, which the services inherit: one channel starts again and again."""

OUR_PUBLISHERS_STAY: Final = {
    "LIVESTREAM_STREAMING_ABSENCE_SECONDS": "3600",
    "LIVESTREAM_STREAMING_SILENCE_SECONDS": "3600",
}
"""Settings of streaming: the hooks are ours, so the media server has none of those publishers when it is asked."""

BARS: Final = {**stream_start_hooks.BARS, "publish_to_last_of_20_followers_p95_ms": 1_000.0}
"""The most that each figure may be."""


async def measure(directory: Path, say: Say) -> Outcome:
    """Start what is needed below `directory`, measure both, stop it again."""
    stack = Stack(directory, port_base=PORT_BASE)
    os.environ.update(EVERY_START_IS_TOLD | OUR_PUBLISHERS_STAY)
    await asyncio.to_thread(stack.up, PARTS, say=say)
    try:
        before = _cpu_seconds(stack)
        figures = await _measure_notices(stack, say)
        figures |= await measure_hooks(stack, say)  # last, for the streams it leaves behind make work for a while
        return Outcome(figures, len(SERVICES), round(_cpu_seconds(stack) - before, 2))
    finally:
        await asyncio.to_thread(stack.down)


def _cpu_seconds(stack: Stack) -> float:
    times = [psutil.Process(stack.pid(service)).cpu_times() for service in SERVICES]
    return sum(time_used.user + time_used.system for time_used in times)


# --- notices ----------------------------------------------------------------------------------------------------------


@dataclass
class Follower:
    """Somebody connected for notices."""

    person: Person
    heard: "asyncio.Queue[tuple[UUID, float]]" = field(default_factory=asyncio.Queue)
    """The stream of each notice, and when it was read."""
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, origin: Origin) -> None:
        """Read the event stream until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        url = f"{origin.url}/api/notifications/live"
        async with origin.session.get(url, headers=self.person.headers, timeout=timeout) as answer:
            answer.raise_for_status()
            self.connected.set()
            async for raw in answer.content:
                if raw.startswith(b"data:"):
                    notice = json.loads(raw.removeprefix(b"data:"))
                    if "stream_id" in notice:
                        self.heard.put_nowait((UUID(notice["stream_id"]), time.perf_counter()))


async def _measure_notices(stack: Stack, say: Say) -> dict[str, float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as tasks:
        origin = Origin(session, stack.environment()["LIVESTREAM_PUBLIC_URL"])
        streamer = await origin.register("streamer")
        made = await origin.call("POST", "/api/channels/me/stream-key", person=streamer, status=201)
        followers = [Follower(await origin.register("follower")) for _ in range(FOLLOWERS)]
        await _follow(origin, streamer, followers)
        listening = [tasks.create_task(follower.listen(origin)) for follower in followers]
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await asyncio.gather(*(follower.connected.wait() for follower in followers))
        lasts: list[float] = []
        async with _publish_watcher(made["ingest_url"]) as watcher:
            for number in range(ROUNDS + 1):  # the first warms up
                seconds = await _round(origin, streamer, watcher, made["stream_key"], followers)
                say(f"notices: round {number} of {ROUNDS}, last of {FOLLOWERS} told after {_ms(seconds):g} ms")
                lasts += [seconds] if number else []
        for task in listening:
            task.cancel()
    return {
        "rounds": float(len(lasts)),
        "publish_to_last_of_20_followers_p50_ms": _ms(percentile(lasts, 0.5)),
        "publish_to_last_of_20_followers_p95_ms": _ms(percentile(lasts, 0.95)),
        "publish_to_last_of_20_followers_max_ms": _ms(max(lasts)),
    }


async def _follow(origin: Origin, streamer: Person, followers: Sequence[Follower]) -> None:
    """Follow the streamer, whom notify may not have heard of for a moment."""
    deadline = time.perf_counter() + ROUND_SECONDS_MAX
    path = f"/api/users/{streamer.user_id}/followers/me"
    for follower in followers:
        while True:
            url = origin.url + path
            async with origin.session.put(url, headers=follower.person.headers) as answer:
                if answer.status == 204:
                    break
            if time.perf_counter() > deadline:
                raise RuntimeError(f"following was answered {answer.status}")
            await asyncio.sleep(0.05)


async def _round(
    origin: Origin, streamer: Person, watcher: "PublishWatcher", key: str, followers: Sequence[Follower]
) -> float:
    """One stream from publish to end; the seconds until its last follower was told."""
    watcher.forget()
    async with asyncio.timeout(ROUND_SECONDS_MAX), _ffmpeg(f"rtmp://127.0.0.1:{watcher.port}/live/{key}"):
        heard = await asyncio.gather(*(follower.heard.get() for follower in followers))
        stream_id = heard[0][0]
        if {other for other, _ in heard} != {stream_id} or watcher.publish_at is None:
            raise RuntimeError("a follower was told of another stream than the one that began")
        seconds = max(at for _, at in heard) - watcher.publish_at
        await origin.call("POST", f"/api/streams/{stream_id}/end", person=streamer)
    return seconds


class PublishWatcher:
    """Relays RTMP connections and notes when a publish command goes by."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.port = 0
        self.publish_at: float | None = None

    def forget(self) -> None:
        """Wait for the next publish command."""
        self.publish_at = None

    async def relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one connection in both directions until either side closes it."""
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        # A client that is dropped leaves both directions in error; that is how a connection ends here.
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._carry(reader, server_writer, watch=True), self._carry(server_reader, writer, watch=False)
            )

    async def _carry(self, reader: StreamReader, writer: StreamWriter, *, watch: bool) -> None:
        seen = b""
        try:
            while piece := await reader.read(65_536):
                # AMF0 (section 2.4): a string, its length in two bytes, the command's name
                if watch and self.publish_at is None and b"\x02\x00\x07publish" in (seen := (seen + piece)[-131_072:]):
                    self.publish_at = time.perf_counter()
                writer.write(piece)
                await writer.drain()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def _publish_watcher(ingest_url: str) -> AsyncIterator[PublishWatcher]:
    target = urlsplit(ingest_url)
    watcher = PublishWatcher(target.hostname or "127.0.0.1", target.port or 1935)
    server = await asyncio.start_server(watcher.relay, "127.0.0.1", 0)
    watcher.port = server.sockets[0].getsockname()[1]
    async with server:
        yield watcher


@contextlib.asynccontextmanager
async def _ffmpeg(url: str) -> AsyncIterator[None]:
    """A publisher sending a small test picture with sound, gone on leaving."""
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-c:a", "aac", "-f", "flv", url),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 1)
