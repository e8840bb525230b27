"""ffmpeg's argument lists for downloads; pure, each held by a golden test."""

from __future__ import annotations

from pathlib import Path

import ffmpeg


def download_arguments(runs: Path, target: Path, *, has_picture: bool) -> list[str]:
    """One MP4 file of the runs that the list ``runs`` names (see `archive.download_plan`): nothing is encoded anew."""
    source = ffmpeg.input(
        str(runs),
        format="concat",
        # The list is ours and names files beside it; options of a file are taken from an unsafe list alone.
        safe=0,
        # Files and named pipes; what is in them is a transport stream, whatever it claims to be.
        protocol_whitelist="file",
        format_whitelist="concat,mpegts",
    )
    # The question mark: a picture without sound is fine. A picture that is declared and never comes is left out: the
    # file could not be begun.
    streams = [source["v:0"], source["a:0?"]] if has_picture else [source["a:0"]]
    joined = ffmpeg.output(
        *streams,
        str(target),
        **{
            "f": "mp4",
            "c": "copy",
            # The index goes to the front, so that the file plays while it is being downloaded.
            "movflags": "+faststart",
        },
    )
    told = joined.global_args("-nostdin", "-hide_banner", "-loglevel", "error", "-nostats")
    return ["ffmpeg", *told.get_args(overwrite_output=True)]


def download_probe_arguments(path: Path) -> list[str]:
    """ffprobe's arguments for a finished download: how long it lasts, in seconds, on stdout."""
    return [
        "ffprobe",
        *("-v", "error"),
        *("-protocol_whitelist", "file"),
        *("-f", "mp4"),
        *("-show_entries", "format=duration"),
        *("-of", "default=noprint_wrappers=1:nokey=1"),
        str(path),
    ]
