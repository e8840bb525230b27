"""Argument lists for looking at and cutting one segment; pure, so that every flag is held by a golden test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import ffmpeg

from archive.media.ffmpeg import ANALYSE_BYTES, ANALYSE_MICROSECONDS, PIXELS_MAX, TRANSPORT_STREAM_TIME_BASE

# A node of ffmpeg-python's graph; the library has no types.
Node: TypeAlias = "ffmpeg.nodes.Node"

# What x264 can make as it was; everything else becomes what every decoder plays.
PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le"})
PIXEL_FORMAT_ELSE = "yuv420p"
# x264's names of the profiles, by ffprobe's.
PROFILES = {
    "Constrained Baseline": "baseline",
    "Baseline": "baseline",
    "Main": "main",
    "High": "high",
    "High 10": "high10",
    "High 4:2:2": "high422",
    "High 4:4:4 Predictive": "high444",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """How the picture of a cut segment is made: as its source is, as near as x264 can.

    ``profile`` is x264's name, None: its own choice. ``bits_per_second_max`` is what its source takes, and some.
    """

    pixel_format: str
    profile: str | None
    bits_per_second_max: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What stays, in ticks of 1/90,000 s; None: from the beginning, to the end. The end itself does not stay."""

    first: float | None
    end: float | None


def look_arguments(path: Path) -> list[str]:
    """ffprobe's arguments for one segment (MPEG-TS): its streams, and the time of every packet, as JSON on stdout."""
    return [
        "ffprobe",
        *("-v", "error"),
        # Nothing but this file, and as nothing but a transport stream: a file may claim to be one and be a playlist.
        *("-protocol_whitelist", "file"),
        *("-f", "mpegts"),
        *("-analyzeduration", str(ANALYSE_MICROSECONDS)),
        *("-probesize", str(ANALYSE_BYTES)),
        *("-show_entries", "stream=index,codec_type,codec_name,profile,pix_fmt,width,height:packet=stream_index,pts"),
        *("-of", "json=compact=1"),
        str(path),
    ]


def cut_arguments(
    source: Path, target: Path, *, picture: Picture | None, pictures: Bounds, sound: Bounds, threads: int
) -> list[str]:
    """ffmpeg's arguments for a segment of which only a part stays: the picture encoded anew, the sound copied.

    Without ``picture`` there is sound alone. See `parted_arguments` for one of which all pictures stay.
    """
    segment = _input(source, threads)
    if picture is None:
        # The packet id that sound has beside a picture.
        cut = ffmpeg.output(segment["a:0"], str(target), **_options(sound), streamid="0:257")
    else:
        trimmed = segment["v:0"].filter("trim", **_kept(pictures))
        # The question mark: a source without sound is fine.
        options = _picture_options(picture, threads) | _options(sound)
        cut = ffmpeg.output(trimmed, segment["a:0?"], str(target), **options)
    # The filters share the budget of cores with decoder and encoder.
    joined = cut.global_args("-filter_complex_threads", str(threads), *_GLOBAL)
    return ["ffmpeg", *joined.get_args(overwrite_output=True)]


def parted_arguments(source: Path, target: Path, *, pictures: Bounds, sound: Bounds) -> list[str]:
    """ffmpeg's arguments for a segment beside a cut: both copied, packets outside the bounds left out."""
    segment = _input(source, 1)
    options = _options(sound) | {"c:v": "copy"}
    if pictures != Bounds(None, None):
        options["bsf:v"] = "noise=drop=" + _dropped(pictures)
    parted = ffmpeg.output(segment["v:0?"], segment["a:0?"], str(target), **options)
    return ["ffmpeg", *parted.global_args(*_GLOBAL).get_args(overwrite_output=True)]


_GLOBAL = (
    # stdin is nobody's: without this ffmpeg reads keys from it.
    "-nostdin",
    "-hide_banner",
    *("-loglevel", "error"),
    # Progress as key=value lines on stdout; they also show that the encoder is alive.
    *("-progress", "pipe:1"),
    *("-stats_period", "0.5"),
    "-nostats",
)


def _input(source: Path, threads: int) -> Node:
    return ffmpeg.input(
        str(source),
        # Forced for the reason given above.
        format="mpegts",
        protocol_whitelist="file",
        # Sound and picture stay where they are to each other, whatever is cut from either.
        copyts=None,
        analyzeduration=ANALYSE_MICROSECONDS,
        probesize=ANALYSE_BYTES,
        # A picture that turns giant in the middle is an error, not memory.
        max_pixels=PIXELS_MAX,
        threads=threads,
    )


def _options(sound: Bounds) -> dict[str, object]:
    options: dict[str, object] = {
        "format": "mpegts",
        # Encoding sound anew would begin with the encoder's delay. Its packets are 21 ms long at 48 kHz: near enough.
        "c:a": "copy",
        # The muxer's usual 0.7 s head start would be a hole.
        "muxdelay": 0,
        "muxpreload": 0,
    }
    if sound != Bounds(None, None):
        options["bsf:a"] = "noise=drop=" + _dropped(sound)
    return options


def _kept(pictures: Bounds) -> dict[str, int]:
    """The trim filter's bounds, in ticks: no rounding of seconds moves an edge to another picture."""
    kept = {"start_pts": pictures.first, "end_pts": pictures.end}
    return {name: round(tick) for name, tick in kept.items() if tick is not None}


def _dropped(kept: Bounds) -> str:
    """An expression that is not 0 for the packets that go (the noise bitstream filter's; it adds no noise)."""
    tests = []
    if kept.first is not None:
        tests.append(f"lt(pts*tb\\,{_before(kept.first)})")
    if kept.end is not None:
        tests.append(f"gte(pts*tb\\,{_before(kept.end)})")
    return "+".join(tests)


def _before(tick: float) -> str:
    """Half a tick before it, in seconds: rounding moves no packet over the edge."""
    return f"{(tick - 0.5) / 90_000:.6f}"


def _picture_options(picture: Picture, threads: int) -> dict[str, object]:
    options: dict[str, object] = {
        "c:v": "libx264",
        "preset": "veryfast",
        "pix_fmt": picture.pixel_format,
        # As good as the source beside it, for an eye; and not much larger.
        "crf": 18,
        "maxrate": picture.bits_per_second_max,
        "bufsize": picture.bits_per_second_max * 2,
        # Key frames where the source has them: a cut segment is a source of renditions like any other.
        "force_key_frames": "source",
        "forced-idr": 1,
        "sc_threshold": 0,
        "g": 600,
        "flags": "+cgop",
        # Nothing is decoded before it is shown, so no timestamp lies before the first picture.
        "bf": 0,
        # One frame out for each frame in, at its own time.
        "fps_mode": "passthrough",
        "enc_time_base": TRANSPORT_STREAM_TIME_BASE,
        "threads": threads,
    }
    if picture.profile is not None:
        options["profile:v"] = picture.profile
    return options
