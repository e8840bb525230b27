"""Argument lists for ffmpeg and ffprobe; pure, so that every flag is held by a golden test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import ffmpeg

from archive.ladder.ladder import Rendition
from archive.media.encoders import X264, Encoder, Options

# A node of ffmpeg-python's graph; the library has no types.
Node: TypeAlias = "ffmpeg.nodes.Node"

# After a (re)connect nginx-rtmp's first segments may carry sound alone, until the publisher's next key frame: a stream
# that is declared is looked for in all of the file (microseconds, bytes) before it is said to be empty.
ANALYSE_MICROSECONDS = 120_000_000
ANALYSE_BYTES = 512 << 20

# 8K and a little: beyond it a decoder's memory, not a viewer's screen, is what somebody is after.
PIXELS_MAX = 8192 * 4608

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
        # Pictures are decoded to learn their size: a giant one is refused before it takes memory and seconds.
        *("-max_pixels", str(PIXELS_MAX)),
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
    source: Path, outputs: Sequence[tuple[Rendition, Path]], *, threads: int, encoder: Encoder = X264
) -> list[str]:
    """ffmpeg's arguments for one chunk: one decode of ``source`` (MPEG-TS), one MPEG-TS file for each rendition.

    The pictures go largest first. The sound alone may be among the renditions where ``source`` has sound.
    """
    chunk = _input(source, threads)
    scaled = iter(_scaled(chunk["v:0"], [rendition for rendition, _ in outputs if rendition.has_video]))
    streams = [
        _output(chunk, next(scaled), rendition, path, encoder, threads=threads)
        if rendition.has_video
        else _sound_output(chunk, path)
        for rendition, path in outputs
    ]
    joined = streams[0] if len(streams) == 1 else ffmpeg.merge_outputs(*streams)
    # The filters share the budget of cores, too: otherwise they take all.
    options = ("-filter_complex_threads", str(threads), *encoder.global_arguments(), *_GLOBAL)
    return ["ffmpeg", *joined.global_args(*options).get_args(overwrite_output=True)]


def sound_arguments(source: Path, target: Path) -> list[str]:
    """ffmpeg's arguments for a chunk without any picture: its sound is copied as it is."""
    sound = _sound_output(_input(source, 1), target)
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
        # A picture that turns giant in the middle is an error, not memory.
        max_pixels=PIXELS_MAX,
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


def _scaled(pictures: Node, renditions: Sequence[Rendition]) -> list[Node]:
    """The decoded pictures in each size, each made from the next larger one.

    Against scaling every one from the decoded picture that takes a tenth less CPU for the whole ladder (1080p30,
    bicubic, veryfast, measured), and costs less than 0.002 of structural similarity before any encoding.
    """
    scaled: list[Node] = []
    for place, rendition in enumerate(renditions):
        pictures = pictures.filter("scale", rendition.width_px, rendition.height_px, flags="bicubic")
        # The width already carries the source's pixel shape.
        pictures = pictures.filter("setsar", "1")
        if place + 1 < len(renditions):
            both = pictures.filter_multi_output("split", 2)
            scaled.append(both.stream(0))
            pictures = both.stream(1)
        else:
            scaled.append(pictures)
    return scaled


def _output(chunk: Node, pictures: Node, rendition: Rendition, path: Path, encoder: Encoder, *, threads: int) -> Node:
    for name, options in encoder.filters():
        pictures = pictures.filter(name, **options)
    options = encoder.options(rendition.video_bits_per_second_max, threads=threads) | {
        # One frame out for each frame in, at its own time; anything else drops or doubles frames at the borders.
        "fps_mode": "passthrough",
        "enc_time_base": TRANSPORT_STREAM_TIME_BASE,
    }
    # The question mark: a source without sound is fine.
    return ffmpeg.output(pictures, chunk["a:0?"], str(path), **_COPIED_SOUND, **options)


def _sound_output(chunk: Node, path: Path) -> Node:
    # The packet id that sound has beside a picture: to a demuxer the chunks are one stream.
    return ffmpeg.output(chunk["a:0"], str(path), **_COPIED_SOUND, streamid="0:257")


_COPIED_SOUND: Options = {
    "format": "mpegts",
    # Sound is copied: encoding it in chunks would leave a gap of encoder delay at each border.
    "c:a": "copy",
    # The muxer's usual 0.7 s head start would shift each chunk.
    "muxdelay": 0,
    "muxpreload": 0,
}
