"""The media side of the story: a clip to publish, a publisher like OBS, a player that believes only what it decoded."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from console.demo.steps import StepFailed

CLIP_SECONDS = 20
FRAMES_PER_SECOND = 30
KEYFRAME_INTERVAL_SECONDS = 2
MEDIA_COMMAND_SECONDS_MAX = 60.0
VIDEO_ENCODING = (
    "-c:v", "libx264", "-b:v", "2500k", "-pix_fmt", "yuv420p",
    "-g", str(FRAMES_PER_SECOND * KEYFRAME_INTERVAL_SECONDS), "-keyint_min", "1", "-sc_threshold", "0",
)  # fmt: skip

# The picture leaves the encoder six frames (0.2 s) after it went in, as with OBS; what is in there is lost by a cut.
SOME_ENCODER_DELAY = ("-bf", "0", "-x264-params", "rc-lookahead=6:sync-lookahead=0:sliced-threads=1")


async def make_clip(path: Path) -> None:
    """A 20 s H.264/AAC clip in FLV, 1280x720 at 30 frames a second, a keyframe every 2 s. Made once."""
    if await asyncio.to_thread(path.exists):
        return
    draft = path.with_suffix(f".{os.getpid()}.flv")
    await _run(
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-y",
        "-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate={FRAMES_PER_SECOND}:duration={CLIP_SECONDS}",
        "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={CLIP_SECONDS}",
        *VIDEO_ENCODING, "-preset", "ultrafast", "-c:a", "aac", "-b:a", "128k", "-f", "flv", str(draft),
    )  # fmt: skip
    draft.replace(path)


class Publisher:
    """An ffmpeg that publishes part of the clip in real time. ``sent_seconds`` is how far it has come."""

    def __init__(self, process: asyncio.subprocess.Process, began_at_seconds: float) -> None:
        self.sent_seconds = 0.0
        self._process = process
        self._began_at_seconds = began_at_seconds
        self._moved = asyncio.Event()

    async def until(self, clip_seconds: float) -> None:
        """Wait until the clip has been sent up to here; StepFailed when the publisher ends before."""
        while self._began_at_seconds + self.sent_seconds < clip_seconds:
            self._moved.clear()
            if self._process.returncode is not None:
                raise StepFailed(f"the publisher to reach {clip_seconds:g} s", f"exit {self._process.returncode}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), timeout=1.0)

    def cut(self) -> None:
        """Drop the connection as a crash or a dead network does: no goodbye."""
        self._process.kill()

    async def follow_progress(self) -> None:
        """Read ffmpeg's progress until it ends."""
        assert self._process.stdout is not None  # noqa: S101 -- opened with a pipe
        async for raw in self._process.stdout:
            name, _, value = raw.decode().strip().partition("=")
            if name == "out_time_us" and value.isdigit():
                self.sent_seconds = int(value) / 1_000_000
                self._moved.set()
        self._moved.set()


@asynccontextmanager
async def publishing(clip: Path, url: str, *, from_seconds: float = 0.0) -> AsyncIterator[Publisher]:
    """Publish the clip from a point on, encoding as it goes, like OBS; on leaving, the publisher is gone.

    A publisher that has its first keyframe ready before it connects (``-c copy``) would lose it: see ADR 0070.
    """
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-progress", "pipe:1", "-stats_period", "0.1",
        "-re", "-ss", f"{from_seconds:g}", "-f", "flv", "-i", str(clip),
        *VIDEO_ENCODING, "-preset", "veryfast", *SOME_ENCODER_DELAY, "-c:a", "copy", "-f", "flv", url,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    publisher = Publisher(process, from_seconds)
    reader = asyncio.create_task(publisher.follow_progress(), name="publisher-progress")
    try:
        yield publisher
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
        await reader


async def play_live(url: str, *, frames: int) -> None:
    """Decode so many frames of a live playlist; StepFailed when they do not come."""
    await _run(
        "ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-xerror", "-f", "hls", "-i", url,
        "-map", "0:v:0", "-frames:v", str(frames), "-f", "null", "-",
    )  # fmt: skip


@dataclass(frozen=True)
class Played:
    """What a player got: its decoded video, counted."""

    seconds: float
    width: int
    height: int
    frames: int
    audio_codec: str | None


async def play(url: str, *, cookie: str | None = None) -> Played:
    """Decode everything behind the URL of a finished HLS playlist: its first rendition."""
    headers = () if cookie is None else ("-headers", f"Cookie: {cookie}\r\n")
    # To the demuxer each rendition is a program.
    return await _count(url, *headers, "-f", "hls", "-i", url, "-select_streams", "p:0")


async def play_file(path: Path) -> Played:
    """Decode everything in an MP4 file."""
    return await _count(str(path), "-f", "mp4", "-i", str(path))


async def _count(what: str, *source: str) -> Played:
    text = await _run(
        "ffprobe", "-v", "error", *source, "-count_frames", "-show_entries",
        "format=duration:stream=codec_type,codec_name,width,height,nb_read_frames,avg_frame_rate", "-of", "json",
    )  # fmt: skip
    probe = json.loads(text)
    video = [stream for stream in probe["streams"] if stream["codec_type"] == "video"]
    audio = [stream for stream in probe["streams"] if stream["codec_type"] == "audio"]
    if not video:
        raise StepFailed(f"video behind {what}", "none")
    frames = int(video[0].get("nb_read_frames", 0))
    return Played(
        seconds=float(probe["format"].get("duration", 0) or 0),
        width=int(video[0]["width"]),
        height=int(video[0]["height"]),
        frames=frames,
        audio_codec=audio[0]["codec_name"] if audio else None,
    )


async def _run(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), timeout=MEDIA_COMMAND_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise StepFailed(f"{argv[0]} to end within {MEDIA_COMMAND_SECONDS_MAX:g} s", "it did not") from None
    if process.returncode != 0:
        raise StepFailed(f"{argv[0]} to succeed", f"exit {process.returncode}: {errors.decode()[-300:]}")
    return output.decode()
