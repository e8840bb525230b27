"""Argument lists for ffmpeg and ffprobe; pure, so that every flag is held by a golden test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import ffmpeg

from archive.ladder import Rendition

# A node of ffmpeg-python's graph; the library has no types.
Node: TypeAlias = "ffmpeg.nodes.Node"

# After a (re)connect nginx-rtmp's first segments may carry sound alone, until the publisher's next key frame: a stream
# that is declared is looked for in all of the file (microseconds, bytes) before it is said to be empty.
ANALYSE_MICROSECONDS = 120_000_000
ANALYSE_BYTES = 512 << 20

# The transport stream's clock (ISO/IEC 13818-1 2.4.3.6): 90,000 ticks a second.
TRANSPORT_STREAM_TIME_BASE = "1:90000"


def probe_arguments(path: Path) -> list[str]:
    """ffprobe's arguments for one MPEG-TS file; it answers with JSON on stdout."""
    return [
        "ffprobe",
        # Only what went wrong belongs on stderr: it becomes the failure's text.
        *("-v", "error"),
        # Nothing but this file: no playlist inside may name a URL.
        *("-protocol_whitelist", "file"),
        # The format is forced: a file may claim to be one thing and be a playlist.
        *("-f", "mpegts"),
        *("-analyzeduration", str(ANALYSE_MICROSECONDS)),
        *("-probesize", str(ANALYSE_BYTES)),
        *("-show_entries", "format=start_time,duration:stream=" + _STREAM_FIELDS),
        *("-of", "json"),
        str(path),
    ]


_STREAM_FIELDS = ",".join(
    (
        *("codec_type", "codec_name", "profile", "level", "width", "height", "sample_aspect_ratio"),
        *("r_frame_rate", "avg_frame_rate", "start_time", "duration"),
    )
)


def rendition_arguments(
    source: Path, outputs: Sequence[tuple[Rendition, Path]], *, threads: int, preset: str = "veryfast"
) -> list[str]:
    """ffmpeg's arguments for one chunk: one decode of ``source`` (MPEG-TS), one MPEG-TS file for each rendition."""
    chunk = _input(source, threads)
    pictures = chunk["v:0"]
    if len(outputs) > 1:
        pictures = pictures.filter_multi_output("split", len(outputs))
    branches = [pictures if len(outputs) == 1 else pictures.stream(i) for i in range(len(outputs))]
    streams = [
        _output(chunk, branch, rendition, path, threads=threads, preset=preset)
        for branch, (rendition, path) in zip(branches, outputs, strict=True)
    ]
    joined = (streams[0] if len(streams) == 1 else ffmpeg.merge_outputs(*streams)).global_args(*_GLOBAL)
    return ["ffmpeg", *joined.get_args(overwrite_output=True)]


def sound_arguments(source: Path, target: Path) -> list[str]:
    """ffmpeg's arguments for a chunk without any picture: its sound is copied as it is."""
    options = {
        "format": "mpegts",
        "c:a": "copy",
        "muxdelay": 0,
        "muxpreload": 0,
        # The packet id that sound has beside a picture: to a demuxer the chunks are one stream.
        "streamid": "0:257",
    }
    sound = ffmpeg.output(_input(source, 1)["a:0"], str(target), **options)
    return ["ffmpeg", *sound.global_args(*_GLOBAL).get_args(overwrite_output=True)]


def _input(source: Path, threads: int) -> Node:
    return ffmpeg.input(
        str(source),
        # Forced for the reason given above.
        format="mpegts",
        protocol_whitelist="file",
        # Timestamps are kept, so that chunks made by different workers join without a jump.
        copyts=None,
        analyzeduration=ANALYSE_MICROSECONDS,
        probesize=ANALYSE_BYTES,
        # The decoder shares the budget of cores with the encoder.
        threads=threads,
    )


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


def _output(chunk: Node, pictures: Node, rendition: Rendition, path: Path, *, threads: int, preset: str) -> Node:
    scaled = pictures.filter("scale", rendition.width_px, rendition.height_px, flags="bicubic")
    # The width already carries the source's pixel shape.
    scaled = scaled.filter("setsar", "1")
    # The question mark: a source without sound is fine.
    return ffmpeg.output(scaled, chunk["a:0?"], str(path), **_output_options(rendition, threads, preset))


def _output_options(rendition: Rendition, threads: int, preset: str) -> dict[str, object]:
    return {
        "format": "mpegts",
        "c:v": "libx264",
        "preset": preset,
        # Every decoder plays 8 bit 4:2:0; a camera's 4:2:2 would play almost nowhere.
        "pix_fmt": "yuv420p",
        # Quality is constant, up to what a viewer's line for this rendition must carry.
        "crf": 23,
        "maxrate": rendition.video_bits_per_second_max,
        "bufsize": rendition.video_bits_per_second_max * 2,
        # Key frames where the source has them, thus at every segment's start, and nowhere else.
        "force_key_frames": "source",
        "forced-idr": 1,
        "sc_threshold": 0,
        "g": 600,
        # Every group of pictures decodes alone: chunks are made apart and players switch between renditions.
        "flags": "+cgop",
        # One frame out for each frame in, at its own time; anything else drops or doubles frames at the borders.
        "fps_mode": "passthrough",
        "enc_time_base": TRANSPORT_STREAM_TIME_BASE,
        "threads": threads,
        # Sound is copied: encoding it in chunks would leave a gap of encoder delay at each border.
        "c:a": "copy",
        # The muxer's usual 0.7 s head start would shift each chunk.
        "muxdelay": 0,
        "muxpreload": 0,
    }
