"""A publisher as streamers have one: ffmpeg sending H.264 and AAC over RTMP."""

import asyncio
import re
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def publishing(url: str, *, seconds: int = 300) -> AsyncIterator[Process]:
    """ffmpeg publishing a test picture to `url` in real time; killed on leaving if it still runs."""
    picture = ["-f", "lavfi", "-i", "testsrc2=size=192x108:rate=25"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-t", str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-nostdin", "-re", *picture, "-re", *tone, *codecs, "-f", "flv", url),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


async def eventually(
    ask: Callable[[], Awaitable[T]], *, until: Callable[[T], bool], seconds_max: float = 20, what: str = ""
) -> T:
    """Ask until the answer satisfies; fails with the last answer after `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while not until(answer := await ask()):
        assert time.monotonic() < deadline, f"{what or 'still'}: {answer!r}"
        await asyncio.sleep(0.05)
    return answer


async def media_seconds(path: Path) -> float:
    """The duration of a media file as ffprobe sees it."""
    probe = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path), stdout=PIPE
    )
    output, _ = await probe.communicate()
    found = re.match(rb"[\d.]+", output)
    assert found is not None, output
    return float(found[0])
