"""ffmpeg's argument lists for posters and storyboards; pure, each held by a golden test."""

from __future__ import annotations

import re
from pathlib import Path

import ffmpeg

from archive.media.ffmpeg import PIXELS_MAX, Node
from archive.pictures.layout import Layout

POSTER_SIDE_PX = 1280
# The filter keeps so many pictures, made small before, and takes the one that is most like all of them.
POSTER_PICTURES = 100

_BRIGHTNESS = re.compile(rb"lavfi\.signalstats\.YAVG=(\d+(?:\.\d+)?)")


def poster_arguments(source: Path, target: Path) -> list[str]:
    """One JPEG of the picture that shows best what is in ``source`` (MPEG-TS); stdout tells how bright it is."""
    pictures = _pictures(source)
    # Pixels that are not square become square; what is larger than a page shows becomes smaller.
    pictures = pictures.filter(
        "scale", w=f"trunc(min(min({POSTER_SIDE_PX},iw*sar),{POSTER_SIDE_PX}*dar)/2)*2", h="trunc(ow/dar/2)*2"
    )
    pictures = pictures.filter("setsar", "1").filter("thumbnail", n=POSTER_PICTURES).filter("signalstats")
    pictures = pictures.filter("metadata", mode="print", key="lavfi.signalstats.YAVG", file="-")
    return _compiled(ffmpeg.output(pictures, str(target), **_jpeg(quality=3)))


def read_brightness(stdout: bytes) -> float:
    """How bright the poster is: 16 is black, 235 white (ITU-T H.273); 0 when it was not told."""
    found = _BRIGHTNESS.search(stdout)
    return float(found[1]) if found else 0.0


def tile_arguments(source: Path, target: Path, layout: Layout) -> list[str]:
    """The first key frame of ``source`` (MPEG-TS) as a tile: one frame of raw 4:2:0 pixels."""
    # Of all other pictures not even the slices are decoded.
    pictures = _pictures(source, skip_frame="nokey")
    size = (layout.tile_width_px, layout.tile_height_px)
    pictures = pictures.filter("scale", w="trunc(iw*sar/2)*2", h="ih").filter("setsar", "1")
    # A publisher may have come back with a picture of another shape: it is fitted in.
    pictures = pictures.filter("scale", *size, force_original_aspect_ratio="decrease")
    pictures = pictures.filter("pad", *size, "(ow-iw)/2", "(oh-ih)/2").filter("format", "yuv420p")
    return _compiled(ffmpeg.output(pictures, str(target), **{"f": "rawvideo", "frames:v": 1}))


def sheet_arguments(tiles: Path, target: Path, layout: Layout, sheet: int) -> list[str]:
    """One JPEG of the tiles in ``tiles``, one after the other as `tile_arguments` has them made."""
    columns, rows = layout.sheet_size(sheet)
    pictures = ffmpeg.input(
        str(tiles),
        format="rawvideo",
        protocol_whitelist="file",
        pix_fmt="yuv420p",
        s=f"{layout.tile_width_px}x{layout.tile_height_px}",
        r=1,
    )["v:0"].filter("tile", f"{columns}x{rows}")
    return _compiled(ffmpeg.output(pictures, str(target), **_jpeg(quality=4)))


def _pictures(source: Path, **options: object) -> Node:
    return ffmpeg.input(
        str(source),
        # The format is forced and nothing but this file may be read: it may claim to be one thing and be a playlist.
        format="mpegts",
        protocol_whitelist="file",
        max_pixels=PIXELS_MAX,
        threads=1,
        **options,
    )["v:0"]


def _jpeg(*, quality: int) -> dict[str, object]:
    return {
        "f": "image2",
        "c:v": "mjpeg",
        # JPEG knows the full range alone.
        "pix_fmt": "yuvj420p",
        "q:v": quality,
        "frames:v": 1,
        # The name is a name, not a pattern for many.
        "update": 1,
        "threads": 1,
    }


def _compiled(output: Node) -> list[str]:
    # -nostdin: stdin is nobody's, and without this ffmpeg reads keys from it.
    told = output.global_args("-nostdin", "-hide_banner", "-loglevel", "error", "-nostats")
    return ["ffmpeg", *told.get_args(overwrite_output=True)]
