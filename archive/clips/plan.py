"""Which segments a clip is made of, and which of them must be cut; pure.

The clock is the recording's as players show it: the durations of its segments, one after the other. What is missing in
a recording takes no time on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from archive.ladder.ladder import SourceSegment

LENGTH_MS_MIN = 1_000
TICKS_PER_MS = 90
# A shorter piece of a segment is not left alone: a player would stumble over a picture or two without any sound.
SLIVER_MS = 250
# An edge as near as this to a segment's is taken for it: less than a frame at 120 frames a second, and more than
# what is lost when durations are rounded.
SNAP_MS = 8


class RangeRefused(ValueError):
    """The range cannot be cut; ``field`` is the one that is wrong, the text names its limit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ClipRange:
    """A range of a recording's time in ms, the end not included."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A segment, and when it begins in its recording."""

    segment: SourceSegment
    starts_ms: int

    @property
    def ends_ms(self) -> int:
        """When the next one begins."""
        return self.starts_ms + self.segment.duration_ms


@dataclass(frozen=True, slots=True)
class Piece:
    """One segment of a clip: a whole one of the recording, or what is left of it between ``head_ms`` and ``tail_ms``.

    Both count from the beginning of the first of ``sources``; None: nothing is cut there. A sliver of a segment is made
    together with its neighbour: then there are two sources. ``sequence`` is its number in the recording.

    In a transport stream sound lies a few frames behind the picture, so a segment's last sound is in the next one.
    Where timestamps go on nobody notices; at a seam that a cut has made a player would begin the next segment with
    that sound, and the rest of the clip late. So there sound ends and begins with the picture: what belongs to the end
    is taken from ``sound_from``, the next segment, and one with ``sound_with_picture`` has none before its picture.
    """

    sources: Sequence[TimedSegment]
    sequence: int
    discontinuity: bool = False
    head_ms: int | None = None
    tail_ms: int | None = None
    sound_from: TimedSegment | None = None
    sound_with_picture: bool = False

    @property
    def is_copied(self) -> bool:
        """Whether it is a segment of the recording as it is."""
        return not self.is_cut and self.sound_from is None and not self.sound_with_picture

    @property
    def is_cut(self) -> bool:
        """Whether its picture must be made anew."""
        return self.head_ms is not None or self.tail_ms is not None

    @property
    def starts_ms(self) -> int:
        """When its first source begins."""
        return self.sources[0].starts_ms

    @property
    def ends_ms(self) -> int:
        """When its last source ends."""
        return self.sources[-1].ends_ms

    @property
    def planned(self) -> ClipRange:
        """Where it begins and ends, as far as that is known before it is cut."""
        return ClipRange(
            self.starts_ms + (self.head_ms or 0),
            self.ends_ms if self.tail_ms is None else self.starts_ms + self.tail_ms,
        )


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """What a clip is made of, in playing order, and where it really begins and ends in its recording."""

    pieces: Sequence[Piece]
    range: ClipRange


def checked_range(from_seconds: float, to_seconds: float, *, duration_ms: int, length_seconds_max: float) -> ClipRange:
    """The range in ms. Raises RangeRefused when it is outside the recording, too short or too long."""
    from_ms, to_ms = round(from_seconds * 1000), round(to_seconds * 1000)
    if to_ms > duration_ms:
        raise RangeRefused("to_seconds", f"the recording is {duration_ms / 1000:.3f} s long")
    if to_ms - from_ms < LENGTH_MS_MIN:
        raise RangeRefused("to_seconds", f"a clip is at least {LENGTH_MS_MIN / 1000:g} s long")
    if to_ms - from_ms > length_seconds_max * 1000:
        raise RangeRefused("to_seconds", f"it may be {length_seconds_max:g} s long at most")
    return ClipRange(from_ms, to_ms)


def timed(segments: Sequence[SourceSegment], *, starts_ms: int = 0) -> list[TimedSegment]:
    """Each segment with its time; ``starts_ms`` is that of the first."""
    placed = []
    for segment in segments:
        placed.append(TimedSegment(segment, starts_ms))
        starts_ms += segment.duration_ms
    return placed


def plan_clip(segments: Sequence[TimedSegment], wanted: ClipRange, *, exact: bool) -> ClipPlan | None:
    """The segments that play between the edges; None when there are none.

    ``segments`` may be more than those that play in it; with SLIVER_MS on the right no sound is lost at the end.
    Without ``exact`` the range is widened to whole segments. With it the first and the last are cut where it begins and
    ends within them. A cut segment is encoded anew, so its timestamps and parameters do not go on in the next.
    """
    inside = [
        timed_segment
        for timed_segment in segments
        if timed_segment.ends_ms - SNAP_MS > wanted.from_ms and timed_segment.starts_ms + SNAP_MS < wanted.to_ms
    ]
    if not inside:
        return None
    if not exact:
        return _plan([Piece([source], source.segment.sequence) for source in inside])
    pieces = _seams_closed(_without_slivers([_piece(source, wanted) for source in inside]))
    after = next((source for source in segments if source.starts_ms >= pieces[-1].ends_ms), None)
    return _plan([*pieces[:-1], _with_its_sound(pieces[-1], after)])


def _plan(pieces: Sequence[Piece]) -> ClipPlan:
    # The first segment of a playlist follows nothing.
    joined = [pieces[0]]
    for before, piece in pairwise(pieces):
        anew = not _goes_on(before, piece) or before.is_cut or piece.is_cut
        joined.append(replace(piece, discontinuity=anew))
    return ClipPlan(joined, ClipRange(pieces[0].planned.from_ms, pieces[-1].planned.to_ms))


def _piece(source: TimedSegment, wanted: ClipRange) -> Piece:
    head_ms, tail_ms = wanted.from_ms - source.starts_ms, wanted.to_ms - source.starts_ms
    return Piece(
        [source],
        source.segment.sequence,
        head_ms=head_ms if head_ms > SNAP_MS else None,
        tail_ms=tail_ms if tail_ms < source.segment.duration_ms - SNAP_MS else None,
    )


def _without_slivers(pieces: Sequence[Piece]) -> list[Piece]:
    """The same pieces, the first and the last together with their neighbours where too little is left of them."""
    whole = list(pieces)
    if len(whole) > 1 and _is_sliver(whole[0]) and _goes_on(whole[0], whole[1]):
        # By the neighbour's number: no number is missing after it.
        whole[:2] = [_together(whole[0], whole[1], whole[1].sequence)]
    if len(whole) > 1 and _is_sliver(whole[-1]) and _goes_on(whole[-2], whole[-1]):
        whole[-2:] = [_together(whole[-2], whole[-1], whole[-2].sequence)]
    return whole


def _is_sliver(piece: Piece) -> bool:
    return piece.is_cut and piece.planned.to_ms - piece.planned.from_ms < SLIVER_MS


def _goes_on(before: Piece, piece: Piece) -> bool:
    """Whether timestamps go on from one to the next in the recording: no reconnect and no gap is between them."""
    segment = piece.sources[0].segment
    return not segment.discontinuity and segment.sequence == before.sources[-1].segment.sequence + 1


def _together(before: Piece, piece: Piece, sequence: int) -> Piece:
    tail_ms = None if piece.tail_ms is None else piece.starts_ms - before.starts_ms + piece.tail_ms
    return Piece([*before.sources, *piece.sources], sequence, head_ms=before.head_ms, tail_ms=tail_ms)


def _seams_closed(pieces: Sequence[Piece]) -> list[Piece]:
    """The same pieces; where a cut parts what goes on, sound is parted as the picture is."""
    closed = list(pieces)
    for at, (before, piece) in enumerate(pairwise(pieces)):
        if (before.is_cut or piece.is_cut) and _goes_on(before, piece):
            closed[at] = replace(closed[at], sound_from=piece.sources[0])
            closed[at + 1] = replace(closed[at + 1], sound_with_picture=True)
    return closed


def _with_its_sound(last: Piece, after: TimedSegment | None) -> Piece:
    near = last.tail_ms is not None and last.ends_ms - last.planned.to_ms < SLIVER_MS
    if not near or after is None or not _goes_on(last, Piece([after], after.segment.sequence)):
        return last
    return replace(last, sound_from=after)


@dataclass(frozen=True, slots=True)
class Span:
    """What stays of a segment that is cut, in ticks of its timestamps: from the first picture to before the last.

    None: from the beginning, to the end. Timestamps of MPEG-TS: 90,000 ticks a second.
    """

    first: int | None
    end: int | None


def cut_span(times: Sequence[int], piece: Piece, *, origin: int) -> Span | None:
    """Where to cut a segment whose pictures (or else packets of sound) have these times, in any order.

    ``origin`` is the time at which the segment begins. The edges are the pictures that are nearest. None: no picture
    is nearer to being in than out.
    """
    times = sorted(set(times))
    half = usual_interval(times) / 2
    wanted_first = None if piece.head_ms is None else origin + TICKS_PER_MS * piece.head_ms - half
    wanted_end = None if piece.tail_ms is None else origin + TICKS_PER_MS * piece.tail_ms - half
    stays = [
        time
        for time in times
        if (wanted_first is None or time >= wanted_first) and (wanted_end is None or time < wanted_end)
    ]
    if not stays:
        return None
    after = next((time for time in times if time > stays[-1]), None)
    return Span(None if piece.head_ms is None else stays[0], None if piece.tail_ms is None else after)


def edges_ms(piece: Piece, span: Span, *, origin: int) -> ClipRange:
    """Where in its recording a cut segment really begins and ends."""
    starts_ms = piece.starts_ms
    return ClipRange(
        starts_ms if span.first is None else starts_ms + round((span.first - origin) / TICKS_PER_MS),
        piece.ends_ms if span.end is None else starts_ms + round((span.end - origin) / TICKS_PER_MS),
    )


def usual_interval(times: Sequence[int]) -> int:
    """The median of the steps between times that ascend; 0 when there is one, or none."""
    steps = sorted(later - earlier for earlier, later in pairwise(times))
    return steps[len(steps) // 2] if steps else 0
