"""Where posters and storyboards take their pictures from, and how a storyboard is laid out; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from archive.ladder.ladder import SourceSegment

SHEET_COLUMNS = 5
SHEET_ROWS = 5
SHEET_TILES = SHEET_COLUMNS * SHEET_ROWS
# The longer side of a tile; a storyboard is looked at in a player's seek bar.
TILE_SIDE_PX = 160

# Not the very beginning, which is often a waiting screen; the others in case that one is dark or cannot be read.
POSTER_MOMENTS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)


@dataclass(frozen=True, slots=True)
class Layout:
    """A storyboard: ``tiles`` tiles, one for each ``step_ms`` of the recording, of one size."""

    duration_ms: int
    step_ms: int
    tiles: int
    tile_width_px: int
    tile_height_px: int

    @property
    def sheets(self) -> int:
        """How many pictures the tiles are spread over."""
        return -(-self.tiles // SHEET_TILES)

    def sheet_size(self, sheet: int) -> tuple[int, int]:
        """(columns, rows) of a sheet; the last one may be smaller."""
        tiles = min(SHEET_TILES, self.tiles - sheet * SHEET_TILES)
        return min(SHEET_COLUMNS, tiles), -(-tiles // SHEET_COLUMNS)


def lay_out(duration_ms: int, aspect: float, *, step_seconds: int, tiles_max: int) -> Layout:
    """The storyboard of a recording whose picture is ``aspect`` times as wide as it is high."""
    step_ms = max(step_seconds, -(-duration_ms // (1000 * tiles_max))) * 1000
    width_px, height_px = (1.0, 1 / aspect) if aspect >= 1 else (aspect, 1.0)
    return Layout(
        duration_ms,
        step_ms,
        tiles=max(1, -(-duration_ms // step_ms)),
        tile_width_px=_even(TILE_SIDE_PX * width_px),
        tile_height_px=_even(TILE_SIDE_PX * height_px),
    )


def storyboard_vtt(layout: Layout, sheet_names: Sequence[str]) -> str:
    """WebVTT whose cues name parts of the sheets (Media Fragments 4.2.2); names are relative to the file itself."""
    lines = ["WEBVTT", ""]
    for tile in range(layout.tiles):
        begin_ms = tile * layout.step_ms
        # The last one stands for what is left, which may be less than a millisecond's worth of a step.
        end_ms = max(begin_ms + 1, min(begin_ms + layout.step_ms, layout.duration_ms))
        place = tile % SHEET_TILES
        x_px = place % SHEET_COLUMNS * layout.tile_width_px
        y_px = place // SHEET_COLUMNS * layout.tile_height_px
        fragment = f"#xywh={x_px},{y_px},{layout.tile_width_px},{layout.tile_height_px}"
        lines += [f"{_time(begin_ms)} --> {_time(end_ms)}", sheet_names[tile // SHEET_TILES] + fragment, ""]
    return "\n".join(lines)


def tile_segments(segments: Sequence[SourceSegment], layout: Layout) -> Iterator[SourceSegment]:
    """For each tile the segment that plays when its time begins, on the recording's own line."""
    ends_ms = list(accumulate(segment.duration_ms for segment in segments))
    for tile in range(layout.tiles):
        yield segments[min(bisect_right(ends_ms, tile * layout.step_ms), len(segments) - 1)]


def poster_segments(segments: Sequence[SourceSegment]) -> list[SourceSegment]:
    """The segments that a poster may be taken from, the best first."""
    last = len(segments) - 1
    return [segments[at] for at in dict.fromkeys(round(last * moment) for moment in POSTER_MOMENTS)]


def _even(number: float) -> int:
    # The colour of a JPEG is stored for two by two pixels.
    return max(2, 2 * round(number / 2))


def _time(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
