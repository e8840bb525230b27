"""What a download is made of: the runs of segments that a rendition's playlist names; pure.

A run is what plays without a discontinuity: put together, its segments are one transport stream. Each run begins on the
recording's own line where the runs before it end, whatever its timestamps say.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from archive.errors import PlaylistUnreadable
from archive.media.playlist import PlaylistEntry
from runtime.objects import is_key

# Each run is a named pipe while the download is made.
RUNS_MAX = 10_000
# A picture may begin a while after the sound: so much of a run is looked through for it.
ANALYSE_MICROSECONDS = 120_000_000
ANALYSE_BYTES = 64 << 20

_DURATION = re.compile(r"#EXTINF:(\d{1,6}(?:\.\d{1,9})?),", re.ASCII)


@dataclass(frozen=True, slots=True)
class Run:
    """Segments that go on from each other; ``keys`` are where their objects are."""

    keys: tuple[str, ...]
    duration_ms: int


def read_played(text: str) -> Iterator[PlaylistEntry]:
    """The entries of a recording's media playlist. Raises PlaylistUnreadable."""
    lines = iter(text.splitlines())
    if next(lines, "") != "#EXTM3U":
        raise PlaylistUnreadable("the first line is not #EXTM3U")
    duration_ms: int | None = None
    discontinuity = False
    for line in lines:
        if line.startswith("#EXTINF:"):
            found = _DURATION.match(line)
            if found is None:
                raise PlaylistUnreadable(f"not a duration: {line[:80]!r}")
            duration_ms = round(float(found[1]) * 1000)
        elif line == "#EXT-X-DISCONTINUITY":
            discontinuity = True
        elif line and not line.startswith("#"):
            if duration_ms is None:
                raise PlaylistUnreadable("a segment has no duration")
            yield PlaylistEntry(line, duration_ms, discontinuity)
            duration_ms, discontinuity = None, False


def runs_of(text: str, stream_id: UUID, rendition: str) -> list[Run]:
    """The runs that a rendition's playlist names. Raises PlaylistUnreadable: also when it names another recording."""
    runs: list[list[PlaylistEntry]] = []
    for entry in read_played(text):
        if not runs or entry.discontinuity:
            runs.append([])
        runs[-1].append(entry)
    if len(runs) > RUNS_MAX:
        raise PlaylistUnreadable(f"it is broken off more than {RUNS_MAX} times")
    return [
        Run(
            tuple(_key(stream_id, rendition, entry.uri) for entry in run),
            sum(entry.duration_ms for entry in run),
        )
        for run in runs
    ]


def _key(stream_id: UUID, rendition: str, uri: str) -> str:
    # A chunk that could not be made is played from the source, which is the folder beside.
    key = posixpath.normpath(f"{stream_id}/{rendition}/{uri}")
    if not is_key(key) or not key.startswith(f"{stream_id}/"):
        raise PlaylistUnreadable(f"not one of its segments: {uri[:80]!r}")
    return key


def run_name(number: int) -> str:
    """The file that a run is read from."""
    return f"run-{number}.ts"


def concat_list(runs: Sequence[Run]) -> str:
    """The runs for ffmpeg's concat demuxer, which shifts each to where those before it end."""
    lines = ["ffconcat version 1.0"]
    for number, run in enumerate(runs):
        lines += [
            f"file {run_name(number)}",
            f"option probesize {ANALYSE_BYTES}",
            f"option analyzeduration {ANALYSE_MICROSECONDS}",
            f"duration {run.duration_ms / 1000:.3f}",
        ]
    return "\n".join(lines) + "\n"
