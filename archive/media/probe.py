"""What a piece of media is, as ffprobe sees it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from archive.errors import MediaRefused, ProcessFailed
from archive.media.ffmpeg import PIXELS_MAX, probe_arguments
from archive.media.process import Limits, ProcessRunner

PROBE_LIMITS = Limits(
    time_seconds=10.0,
    silence_seconds=10.0,
    stop_grace_seconds=1.0,
    cpu_seconds=10,
    memory_bytes=2 << 30,
    file_bytes=1 << 20,
)

# (profile_idc, constraint flags) by ffprobe's name of the profile: ITU-T H.264 A.2, written as RFC 6381 3.3 asks.
_AVC_PROFILES = {
    "Constrained Baseline": "42e0",
    "Baseline": "4200",
    "Main": "4d40",
    "Extended": "5800",
    "High": "6400",
    "High 10": "6e00",
    "High 4:2:2": "7a00",
}
# Audio object types of ISO/IEC 14496-3, as RFC 6381 writes them.
_AAC_PROFILES = {"LC": "mp4a.40.2", "HE-AAC": "mp4a.40.5", "HE-AACv2": "mp4a.40.29"}

# What FFmpeg says of a size that its decoder does not take, or that we told it not to take.
_REFUSED_SIZE = re.compile(r"Picture size (\d+x\d+) (?:is invalid|exceeds)", re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """One MPEG-TS file, timed by its picture if it has one.

    Sizes are 0 without a picture; ``pixel_aspect`` is a pixel's width over its height.
    """

    start_ms: int
    duration_ms: int
    has_video: bool
    has_audio: bool
    width_px: int
    height_px: int
    pixel_aspect: float
    frame_rate: float
    codecs: str | None


async def probe(runner: ProcessRunner, path: Path) -> MediaFacts:
    """The facts of the MPEG-TS file at ``path``. Raises MediaRefused, ProcessError."""
    try:
        finished = await runner.run(probe_arguments(path), PROBE_LIMITS)
    except ProcessFailed as failed:
        _refuse_giant(failed.stderr_tail)
        raise
    return read_probe(finished.stdout, finished.stderr_tail)


def read_probe(text: bytes, complaints: str = "") -> MediaFacts:
    """The facts in ffprobe's JSON, and in what it complains of on stderr.

    Raises MediaRefused when there is nothing to play, or the picture is giant.
    """
    told: dict[str, Any] = json.loads(text or b"{}")
    streams: list[dict[str, Any]] = told.get("streams", [])
    video = next((one for one in streams if one.get("codec_type") == "video"), None)
    audio = next((one for one in streams if one.get("codec_type") == "audio"), None)
    if video is None and audio is None:
        raise MediaRefused("there is neither picture nor sound in it")
    if video is not None and min(int(video.get("width", 0)), int(video.get("height", 0))) <= 0:
        # A picture is declared and none is there: the sound before a publisher's first key frame, or a refused size.
        _refuse_giant(complaints)
        if audio is None:
            raise MediaRefused("the picture has no size")
        video = None
    width_px = int(video["width"]) if video else 0
    height_px = int(video["height"]) if video else 0
    if width_px * height_px > PIXELS_MAX:
        raise MediaRefused(f"the picture is {width_px}x{height_px}, more than {PIXELS_MAX} pixels")
    # The picture's time is what a segment lasts; sound runs a frame ahead or behind.
    timing = video if video is not None and "duration" in video else told.get("format", {})
    duration_ms = _milliseconds(timing.get("duration"))
    if duration_ms <= 0:
        # Tables, and perhaps the first bytes of something: it was cut off, or was never written.
        raise MediaRefused("it ends before its first picture or sound")
    return MediaFacts(
        start_ms=_milliseconds(timing.get("start_time")),
        duration_ms=duration_ms,
        has_video=video is not None,
        has_audio=audio is not None,
        width_px=width_px,
        height_px=height_px,
        pixel_aspect=_ratio(video.get("sample_aspect_ratio") if video else None, ":") or 1.0,
        frame_rate=_frame_rate(video) if video else 0.0,
        codecs=_codecs(video, audio),
    )


def _refuse_giant(complaints: str) -> None:
    if giant := _REFUSED_SIZE.search(complaints):
        raise MediaRefused(f"the picture is {giant[1]}, more than {PIXELS_MAX} pixels")


def _milliseconds(seconds: str | None) -> int:
    return round(float(seconds) * 1000) if seconds and seconds != "N/A" else 0


def _ratio(text: str | None, separator: str) -> float:
    above, _, below = (text or "").partition(separator)
    if not (above.isdigit() and below.isdigit()) or int(below) == 0:
        return 0.0
    return float(Fraction(int(above), int(below)))


def _frame_rate(video: dict[str, Any]) -> float:
    rate = _ratio(video.get("avg_frame_rate"), "/") or _ratio(video.get("r_frame_rate"), "/")
    # A transport stream whose rate ffprobe could not tell is given its clock instead.
    return rate if rate <= 1000 else 0.0


def _codecs(video: dict[str, Any] | None, audio: dict[str, Any] | None) -> str | None:
    """The CODECS attribute, or None when one of the two is not known for sure: better none than a wrong one."""
    names = [_avc(video) if video else "", _aac(audio) if audio else ""]
    return None if None in names else ",".join(name for name in names if name)


def _avc(video: dict[str, Any]) -> str | None:
    profile = _AVC_PROFILES.get(str(video.get("profile")))
    level = int(video.get("level", 0))
    if video.get("codec_name") != "h264" or profile is None or not 0 < level < 256:
        return None
    return f"avc1.{profile}{level:02x}"


def _aac(audio: dict[str, Any]) -> str | None:
    return _AAC_PROFILES.get(str(audio.get("profile"))) if audio.get("codec_name") == "aac" else None
