"""Whether transcoding disturbs chat where both share a machine: publish to delivery, quiet and while it encodes.

One `python -m solo` with its engines, 50 viewers in a room over the edge, 20 messages a second at random moments: the
clock of a message begins at its planned time and ends, for each viewer, when the frame that has it was read. The batch
tick is turned down to its least (5 ms), or the bench would measure the tick. First nothing else happens; then
recordings that were published before are transcoded by as many encoders as there are cores, all through the
measurement. The same once more with encoders that do not stand back (`LIVESTREAM_ARCHIVE_WORKER_NICE=0`) shows what
standing back is worth.

The viewers run on the same machine and wait for the same cores, so their waiting is in the figures, too.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from asyncio.subprocess import DEVNULL, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from bench.report import Bar, Bench, Outcome, Say, percentile
from console.demo.people import Origin, Person
from deploy.local import Stack
from deploy.local.places import CHECKOUT

PORT_BASE: Final = 21_000
VIEWERS: Final = 50
MESSAGES_PER_SECOND: Final = 20
PHASE_SECONDS: Final = 20
WARM_UP_SECONDS: Final = 3
TICK_SECONDS: Final = 0.005
WAIT_SECONDS_MAX: Final = 60.0
STREAMS: Final = 4
CLIP_SECONDS: Final = 10
CLIPS_PER_STREAM: Final = 9
TIMES_REAL_TIME: Final = 4
"""As fast as the shipper, which reads a playlist of 30 s twice a second, can be sure to see every segment."""
PAUSE_SECONDS: Final = 0.05


async def measure(directory: Path, say: Say) -> Outcome:
    """Start the engines below `directory`, measure three phases, stop everything."""
    stack = Stack(directory, profile="solo", port_base=PORT_BASE)
    await asyncio.to_thread(stack.up, stack.engines, say=say)
    try:
        clip = await _clip(directory / "clip.flv")
        quiet, niced, used = await _run(stack, clip, say, nice=None)
        _, plain, used_more = await _run(stack, clip, say, nice=0)
    finally:
        await asyncio.to_thread(stack.down)
    figures = {
        **_figures("quiet", quiet),
        **_figures("transcoding", niced),
        **_figures("transcoding_not_niced", plain),
        "transcoding_p99_to_quiet_p99_ratio": round(percentile(niced, 0.99) / percentile(quiet, 0.99), 2),
        "not_niced_p99_to_quiet_p99_ratio": round(percentile(plain, 0.99) / percentile(quiet, 0.99), 2),
        "viewers": float(VIEWERS),
        "messages_per_second": float(MESSAGES_PER_SECOND),
    }
    return Outcome(figures, 1, round(used + used_more, 2))


def _figures(name: str, seconds: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(percentile(seconds, 0.5) * 1_000, 2),
        f"{name}_p99_ms": round(percentile(seconds, 0.99) * 1_000, 2),
    }


async def _run(stack: Stack, clip: Path, say: Say, *, nice: int | None) -> tuple[list[float], list[float], float]:
    """One solo: its latencies while quiet and while it transcodes, and the CPU seconds of its own process."""
    cores = os.cpu_count() or 1
    settings = {
        "LIVESTREAM_CHAT_TICK_SECONDS": str(TICK_SECONDS),
        "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
        "LIVESTREAM_ARCHIVE_WORKER_JOBS_AT_ONCE": str(cores),
        **({} if nice is None else {"LIVESTREAM_ARCHIVE_WORKER_NICE": str(nice)}),
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with _solo(stack, settings) as solo, aiohttp.ClientSession(connector=connector) as session:
        origin = Origin(session, stack.environment()["LIVESTREAM_PUBLIC_URL"])
        room = Room(origin, await origin.register("talker"))
        async with room.open():
            await room.talk(WARM_UP_SECONDS)
            say(f"quiet: {PHASE_SECONDS} s, {VIEWERS} viewers, {MESSAGES_PER_SECOND} messages a second")
            quiet = await room.talk(PHASE_SECONDS)
            say(f"publishing {STREAMS} streams of {CLIPS_PER_STREAM * CLIP_SECONDS} s")
            await _record(origin, clip)
            await _until(lambda: _encoders(solo) > 0)
            say(f"transcoding with {cores} encoders, nice {'as it is' if nice is None else nice}: {PHASE_SECONDS} s")
            began, idle = time.perf_counter(), psutil.cpu_times().idle
            busy = await room.talk(PHASE_SECONDS)
            share = 1 - (psutil.cpu_times().idle - idle) / (time.perf_counter() - began) / cores
            say(f"the machine was {share:.0%} busy")
            if not _encoders(solo):
                raise RuntimeError("the encoders were done before the measurement was: publish more")
        times = solo.cpu_times()
    return quiet, busy, times.user + times.system


@contextlib.asynccontextmanager
async def _solo(stack: Stack, settings: dict[str, str]) -> AsyncIterator[psutil.Process]:
    port = stack.ports["solo"]
    environment = {**os.environ, **stack.environment(), "LIVESTREAM_HTTP_PORT": str(port), **settings}
    with stack.log("solo").open("ab") as log:
        process = await create_subprocess_exec(
            *(sys.executable, "-m", "solo"), cwd=CHECKOUT, env=environment, stdout=log, stderr=log
        )
    try:
        async with aiohttp.ClientSession() as session:
            await _until(lambda: _ready(session, f"http://127.0.0.1:{port}/readyz"))
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


# --- the room ---------------------------------------------------------------------------------------------------------


@dataclass
class Room:
    """A talker and the viewers, all in one room; latencies in seconds, one for each message and viewer."""

    origin: Origin
    talker: Person
    planned_at: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    said: int = 0
    _voice: aiohttp.ClientWebSocketResponse | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let everybody in; they leave at the end."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            self._voice = await self._join(self.talker.access_token)
            viewers = [await self._join(None) for _ in range(VIEWERS)]
        reading = [asyncio.create_task(self._read(viewer)) for viewer in viewers]
        muted = asyncio.create_task(_drain(self._voice))
        try:
            yield
        finally:
            for socket in (self._voice, *viewers):
                await socket.close()
            await asyncio.wait([*reading, muted])

    async def talk(self, seconds: float) -> list[float]:
        """Say messages at random moments, then wait until everybody has them all."""
        assert self._voice is not None
        self.latencies = []
        moments = random.Random(self.said)
        count = int(seconds * MESSAGES_PER_SECOND)
        began = time.perf_counter()
        for offset in sorted(moments.uniform(0, seconds) for _ in range(count)):
            planned = began + offset
            await asyncio.sleep(max(0.0, planned - time.perf_counter()))
            text = f"message {self.said}"
            self.said += 1
            self.planned_at[text] = planned
            await self._voice.send_json({"type": "send", "id": text.replace(" ", "-"), "text": text})
        await _until(lambda: len(self.latencies) >= count * VIEWERS)
        return self.latencies

    async def _join(self, token: str | None) -> aiohttp.ClientWebSocketResponse:
        """Enter, as soon as chat has heard that there is such a room."""
        while True:
            socket = await self.origin.session.ws_connect(f"{self.origin.url}/chat", compress=0)
            await socket.send_json({"type": "join", "v": 1, "room": str(self.talker.user_id), "token": token})
            first = await socket.receive()
            if first.type is aiohttp.WSMsgType.TEXT and json.loads(first.data)["type"] == "joined":
                return socket
            await socket.close()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self, viewer: aiohttp.ClientWebSocketResponse) -> None:
        async for received in viewer:
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            now = time.perf_counter()
            frame = json.loads(received.data)
            for message in frame["messages"] if frame["type"] == "messages" else ():
                self.latencies.append(now - self.planned_at[message["text"]])


async def _drain(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


# --- the recordings ---------------------------------------------------------------------------------------------------


async def _clip(path: Path) -> Path:
    """Ten seconds of 1080p with sound, made once."""
    picture = ("-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30")
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-b:v", "4M", "-c:a", "aac", "-f", "flv")
    await _ffmpeg(*picture, *tone, "-t", str(CLIP_SECONDS), *codecs, "-y", str(path))
    return path


async def _record(origin: Origin, clip: Path) -> None:
    """Publish the streams side by side and faster than real time, and end each."""

    async def one() -> None:
        streamer = await origin.register("streamer")
        made = await origin.call("POST", "/api/channels/me/stream-key", person=streamer, status=201)
        copies = ("-stream_loop", str(CLIPS_PER_STREAM - 1), "-readrate", str(TIMES_REAL_TIME), "-i", str(clip))
        await _ffmpeg(*copies, "-c", "copy", "-f", "flv", f"{made['ingest_url']}/{made['stream_key']}")
        channel = await origin.call("GET", f"/api/channels/{streamer.user_id}")
        await origin.call("POST", f"/api/streams/{channel['stream_id']}/end", person=streamer)

    await asyncio.gather(*(one() for _ in range(STREAMS)))


async def _ffmpeg(*arguments: str) -> None:
    process = await create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-nostdin", *arguments), stdin=DEVNULL, stdout=DEVNULL
    )
    if await process.wait() != 0:
        raise RuntimeError(f"ffmpeg {' '.join(arguments[:-1])} failed")


def _encoders(solo: psutil.Process) -> int:
    """How many encoders run right now; a child may be gone before it has told its name."""
    names = []
    for child in solo.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(child.name())
    return names.count("ffmpeg")


async def _until(met: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            answer = met()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(PAUSE_SECONDS)


BENCH = Bench(
    name="solo_chat",
    description="Chat's publish to delivery in a solo with 50 viewers: quiet, and while encoders take every core.",
    bars=[Bar("transcoding_p99_ms", "<=", 50)],
    measure=measure,
)
