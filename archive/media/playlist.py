"""Reads the media server's rolling playlist and writes the playlists of a recording; pure.

The tags are those of RFC 8216. nginx-rtmp writes version 3 playlists without an end tag, renames them into place, and
names a segment only once it is closed; with ``hls_fragment_naming sequential`` a segment's file name is its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archive.errors import PlaylistUnreadable

PLAYLIST_BYTES_MAX = 1 << 20
LIVE_SEGMENTS_MAX = 10_000

END = "#EXT-X-ENDLIST"
CAPTIONS_GROUP = "captions"

# Control characters and the line separators of Unicode, besides the quote.
_UNQUOTABLE = re.compile(r'["\x00-\x1f\x7f\x85\u2028\u2029]')
_SEGMENT_NAME = re.compile(r"(?:[^/\s]+/)*(\d{1,9})\.ts", re.ASCII)
_DURATION = re.compile(r"#EXTINF:(\d{1,6}(?:\.\d{1,9})?),", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """One closed segment as the rolling playlist tells it; ``discontinuity`` is true when it begins one."""

    sequence: int
    duration_ms: int
    discontinuity: bool


@dataclass(frozen=True, slots=True)
class PlaylistEntry:
    """One line of a playlist that we write: where the object is, how long it plays, whether it begins anew."""

    uri: str
    duration_ms: int
    discontinuity: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendition as the master playlist names it; ``codecs`` is ``None`` when they are not known for sure."""

    uri: str
    width_px: int
    height_px: int
    frame_rate: float
    codecs: str | None
    bits_per_second_peak: int
    bits_per_second_average: int


@dataclass(frozen=True, slots=True)
class CaptionTrack:
    """Captions in one language, as the master playlist names them; ``label`` is what viewers choose by."""

    uri: str
    language: str
    label: str


def parse_live_playlist(text: str) -> list[LiveSegment]:
    """The segments in the rolling window, oldest first. Raises PlaylistUnreadable."""
    lines = text.split("\n", LIVE_SEGMENTS_MAX * 4)
    if not lines[0].startswith("#EXTM3U"):
        raise PlaylistUnreadable("the first line is not #EXTM3U")
    segments: list[LiveSegment] = []
    duration_ms: int | None = None
    discontinuity = False
    for line in map(str.strip, lines[1:]):
        if line.startswith("#EXTINF:"):
            duration_ms = _duration_ms(line)
        elif line == "#EXT-X-DISCONTINUITY":
            discontinuity = True
        elif line and not line.startswith("#"):
            if duration_ms is None:
                raise PlaylistUnreadable("a segment has no duration")
            segments.append(LiveSegment(_sequence(line), duration_ms, discontinuity))
            duration_ms, discontinuity = None, False
    if len(segments) > LIVE_SEGMENTS_MAX:
        raise PlaylistUnreadable(f"more than {LIVE_SEGMENTS_MAX} segments in a rolling playlist")
    return segments


def _duration_ms(line: str) -> int:
    found = _DURATION.match(line)
    if found is None:
        raise PlaylistUnreadable(f"not a duration: {line[:80]!r}")
    return round(float(found[1]) * 1000)


def _sequence(line: str) -> int:
    found = _SEGMENT_NAME.fullmatch(line)
    if found is None:
        raise PlaylistUnreadable(f"not a segment's name: {line[:80]!r}")
    return int(found[1])


def vod_playlist(entries: Iterable[PlaylistEntry]) -> str:
    """A finished media playlist. RFC 8216 4.3.3.1: no duration, rounded, may exceed the target duration."""
    entries = list(entries)
    lines = _head("VOD", max((target_seconds(entry.duration_ms) for entry in entries), default=1))
    for position, entry in enumerate(entries):
        # A discontinuity says how an entry relates to the one before it: the first has none.
        lines += entry_lines(entry, first=position == 0)
    return "\n".join([*lines, END]) + "\n"


def event_head(target_duration_seconds: int) -> str:
    """The beginning of a media playlist that only ever grows (RFC 8216 4.3.3.5); entries and END follow."""
    return "\n".join(_head("EVENT", target_duration_seconds)) + "\n"


def entry_lines(entry: PlaylistEntry, *, first: bool) -> list[str]:
    """The lines of one entry of a media playlist."""
    lines = ["#EXT-X-DISCONTINUITY"] if entry.discontinuity and not first else []
    return [*lines, f"#EXTINF:{entry.duration_ms / 1000:.3f},", entry.uri]


def target_seconds(duration_ms: int) -> int:
    """The least target duration that a playlist with a segment of this duration may tell."""
    return max(1, int(duration_ms / 1000 + 0.5))


def _head(kind: str, target_duration_seconds: int) -> list[str]:
    return [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-PLAYLIST-TYPE:{kind}",
        f"#EXT-X-TARGETDURATION:{target_duration_seconds}",
        "#EXT-X-MEDIA-SEQUENCE:0",
    ]


def master_playlist(variants: Sequence[Variant], captions: Sequence[CaptionTrack] = ()) -> str:
    """The master playlist, best rendition first as given: players start with the first they can play."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", *map(_caption_line, captions)]
    for variant in variants:
        attributes = [
            f"BANDWIDTH={variant.bits_per_second_peak}",
            f"AVERAGE-BANDWIDTH={variant.bits_per_second_average}",
        ]
        # A rendition of sound alone has no picture to describe.
        if variant.height_px > 0:
            attributes.append(f"RESOLUTION={variant.width_px}x{variant.height_px}")
        if variant.codecs:
            attributes.append(f'CODECS="{variant.codecs}"')
        if variant.height_px > 0 and variant.frame_rate > 0:
            attributes.append(f"FRAME-RATE={variant.frame_rate:.3f}")
        if captions:
            attributes.append(f'SUBTITLES="{CAPTIONS_GROUP}"')
        lines.append("#EXT-X-STREAM-INF:" + ",".join(attributes))
        lines.append(variant.uri)
    return "\n".join(lines) + "\n"


def _caption_line(track: CaptionTrack) -> str:
    attributes = [
        "TYPE=SUBTITLES",
        f'GROUP-ID="{CAPTIONS_GROUP}"',
        f'NAME="{_quotable(track.label)}"',
        f'LANGUAGE="{_quotable(track.language)}"',
        "DEFAULT=NO,AUTOSELECT=YES,FORCED=NO",
        f'URI="{track.uri}"',
    ]
    return "#EXT-X-MEDIA:" + ",".join(attributes)


def _quotable(text: str) -> str:
    """What people wrote, as RFC 8216 4.2 takes it in quotes: on one line and without a quote."""
    return _UNQUOTABLE.sub("'", text)


def bits_per_second(pieces: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(peak, average) of pieces given as (size in bytes, duration in ms). RFC 8216 4.3.4.2: peak of any piece."""
    timed = [(size, duration) for size, duration in pieces if duration > 0]
    if not timed:
        return (1, 1)
    peak = max(size * 8000 // duration for size, duration in timed)
    average = sum(size for size, _ in timed) * 8000 // sum(duration for _, duration in timed)
    return (max(1, peak), max(1, average))
