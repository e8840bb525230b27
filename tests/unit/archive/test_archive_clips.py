"""Which segments a clip is made of, and where they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.clips.plan import (
    ClipRange,
    Piece,
    RangeRefused,
    Span,
    TimedSegment,
    checked_range,
    cut_span,
    edges_ms,
    plan_clip,
    timed,
)
from archive.ladder.ladder import SourceSegment


def recording(*durations_ms: int, anew: tuple[int, ...] = (), missing: tuple[int, ...] = ()) -> list[TimedSegment]:
    """Segments of these durations; `anew`: numbers that begin anew; `missing`: numbers that are not there."""
    numbers = [number for number in range(len(durations_ms) + len(missing)) if number not in missing]
    return timed(
        [
            SourceSegment(number, duration_ms, 1_000, number in anew)
            for number, duration_ms in zip(numbers, durations_ms, strict=True)
        ]
    )


def planned(segments: list[TimedSegment], from_ms: int, to_ms: int, *, exact: bool) -> list[tuple[object, ...]]:
    plan = plan_clip(segments, ClipRange(from_ms, to_ms), exact=exact)
    assert plan is not None
    return [(piece.sequence, piece.head_ms, piece.tail_ms, piece.discontinuity) for piece in plan.pieces]


FOUR = recording(2000, 2000, 2000, 2000)


def test_a_range_is_widened_to_whole_segments() -> None:
    plan = plan_clip(FOUR, ClipRange(2500, 5000), exact=False)
    assert plan is not None
    assert [piece.sequence for piece in plan.pieces] == [1, 2]
    assert plan.range == ClipRange(2000, 6000)
    assert not any(piece.is_cut or piece.discontinuity for piece in plan.pieces)


def test_an_exact_range_cuts_the_segments_at_its_edges_and_only_those() -> None:
    assert planned(FOUR, 500, 7250, exact=True) == [
        (0, 500, None, False),
        (1, None, None, True),
        (2, None, None, False),
        (3, None, 1250, True),
    ]


def test_both_edges_may_be_in_one_segment() -> None:
    assert planned(FOUR, 2250, 3750, exact=True) == [(1, 250, 1750, False)]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("from_ms", "to_ms"), [(2000, 4000), (1995, 4005), (2007, 3993)])
def test_an_edge_beside_a_segments_edge_is_that_edge(from_ms: int, to_ms: int, *, exact: bool) -> None:
    assert planned(FOUR, from_ms, to_ms, exact=exact) == [(1, None, None, False)]


def made_of(from_ms: int, to_ms: int, segments: list[TimedSegment] = FOUR) -> list[tuple[list[int], int | None]]:
    plan = plan_clip(segments, ClipRange(from_ms, to_ms), exact=True)
    assert plan is not None
    return [
        (
            [source.segment.sequence for source in piece.sources],
            None if piece.sound_from is None else piece.sound_from.segment.sequence,
        )
        for piece in plan.pieces
    ]


def test_a_sliver_is_made_together_with_its_neighbour_and_no_number_is_missing() -> None:
    assert planned(FOUR, 1800, 6200, exact=True) == [(1, 1800, None, False), (2, None, 2200, True)]
    assert made_of(1800, 6200) == [([0, 1], 2), ([2, 3], None)]
    assert planned(FOUR, 1800, 4200, exact=True) == [(1, 1800, 4200, False)]
    assert made_of(1800, 4200) == [([0, 1, 2], None)]
    assert made_of(1800, 3000) == [([0, 1], None)]


def test_a_sliver_stays_alone_where_its_neighbour_does_not_go_on_from_it() -> None:
    assert made_of(1800, 3900, recording(2000, 2000, anew=(1,))) == [([0], None), ([1], None)]
    assert made_of(500, 2100, recording(2000, 2000, missing=(1,))) == [([0], None), ([2], None)]


def test_sound_of_the_last_pictures_may_be_in_the_next_segment() -> None:
    assert made_of(0, 3900) == [([0], 1), ([1], 2)]
    assert made_of(0, 3700) == [([0], 1), ([1], None)]
    assert made_of(0, 7900) == [([0], None), ([1], None), ([2], 3), ([3], None)]
    assert made_of(0, 3900, recording(2000, 2000, 2000, anew=(2,)))[-1] == ([1], None)


def test_at_the_seams_that_cuts_make_sound_ends_and_begins_with_the_picture() -> None:
    plan = plan_clip(FOUR, ClipRange(500, 7_250), exact=True)
    assert plan is not None
    assert [piece.sound_from is not None for piece in plan.pieces] == [True, False, True, False]
    assert [piece.sound_with_picture for piece in plan.pieces] == [False, True, False, True]
    assert [piece.is_copied for piece in plan.pieces] == [False] * 4
    far = plan_clip(recording(*[2_000] * 6), ClipRange(500, 11_250), exact=True)
    assert far is not None
    assert [piece.is_copied for piece in far.pieces] == [False, False, True, True, False, False]
    apart = plan_clip(recording(2_000, 2_000, 2_000, anew=(1,), missing=(2,)), ClipRange(500, 5_000), exact=True)
    assert apart is not None
    assert [piece.is_copied for piece in apart.pieces] == [False, True, False]


def test_reconnects_and_gaps_begin_anew_in_the_clip_too_but_not_at_its_first_segment() -> None:
    segments = recording(2000, 2000, 2000, 2000, anew=(0, 1), missing=(3,))
    assert planned(segments, 0, 8000, exact=False) == [
        (0, None, None, False),
        (1, None, None, True),
        (2, None, None, False),
        (4, None, None, True),
    ]
    assert planned(segments, 2000, 8000, exact=False)[0] == (1, None, None, False)


def test_a_part_of_a_recordings_segments_keeps_its_times() -> None:
    assert plan_clip(FOUR[2:], ClipRange(4500, 6500), exact=False) == plan_clip(
        FOUR, ClipRange(4500, 6500), exact=False
    )


def test_nothing_plays_outside() -> None:
    assert plan_clip([], ClipRange(0, 2000), exact=True) is None


@pytest.mark.parametrize(
    ("from_seconds", "to_seconds", "reason"),
    [
        (0.0, 8.1, "the recording is 8.000 s long"),
        (8.5, 9.9, "the recording is 8.000 s long"),
        (3.0, 3.9, "at least 1 s long"),
        (5.0, 2.0, "at least 1 s long"),
        (0.0, 8.0, "it may be 6 s long at most"),
    ],
)
def test_a_range_that_cannot_be_cut_is_refused_with_its_limit(
    from_seconds: float, to_seconds: float, reason: str
) -> None:
    with pytest.raises(RangeRefused, match=reason) as refused:
        checked_range(from_seconds, to_seconds, duration_ms=8000, length_seconds_max=6)
    assert refused.value.field == "to_seconds"


def test_a_range_within_the_limits_is_taken() -> None:
    assert checked_range(2.0, 8.0, duration_ms=8000, length_seconds_max=6) == ClipRange(2000, 8000)


FRAMES_30 = [900_000 + 3_000 * number for number in range(60)]


@pytest.mark.parametrize(
    ("head_ms", "tail_ms", "first", "end"),
    [
        (100, None, 3, None),
        (116, None, 3, None),
        (117, None, 4, None),
        (None, 1000, None, 30),
        (None, 1984, None, None),  # nearer to the segment's end than to its last picture
        (None, 1983, None, 59),
        (500, 1500, 15, 45),
    ],
)
def test_a_cut_is_at_the_nearest_picture(
    head_ms: int | None, tail_ms: int | None, first: int | None, end: int | None
) -> None:
    piece = Piece([FOUR[1]], 1, False, head_ms, tail_ms)
    span = cut_span(FRAMES_30[::-1], piece, origin=900_000)
    assert span == Span(None if first is None else FRAMES_30[first], None if end is None else FRAMES_30[end])


def test_a_piece_shorter_than_half_a_picture_is_none() -> None:
    assert cut_span(FRAMES_30, Piece([FOUR[1]], 1, True, None, 10), origin=900_000) is None
    assert cut_span(FRAMES_30, Piece([FOUR[1]], 1, False, 1_990, None), origin=900_000) is None


def test_the_edges_of_a_cut_piece_are_those_of_its_pictures() -> None:
    piece = Piece([FOUR[1]], 1, False, 490, 1_490)
    assert edges_ms(piece, Span(FRAMES_30[15], FRAMES_30[45]), origin=900_000) == ClipRange(2_500, 3_500)
    assert edges_ms(piece, Span(None, None), origin=900_000) == ClipRange(2_000, 4_000)


@given(
    durations=st.lists(st.integers(200, 9_000), min_size=1, max_size=30),
    edges=st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)),
    exact=st.booleans(),
)
def test_a_plan_covers_what_was_asked_without_holes(
    durations: list[int], edges: tuple[int, int], *, exact: bool
) -> None:
    segments, total = recording(*durations), sum(durations)
    from_ms, to_ms = sorted(min(edge, total) for edge in edges)
    if to_ms - from_ms < 1_000:
        return
    plan = plan_clip(segments, ClipRange(from_ms, to_ms), exact=exact)
    assert plan is not None
    numbers = [piece.sequence for piece in plan.pieces]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert plan.range.from_ms <= from_ms + 8
    assert plan.range.to_ms >= to_ms - 8
    assert not any(piece.is_cut for piece in plan.pieces[1:-1])
    ends = [piece.planned for piece in plan.pieces]
    assert all(before.to_ms == after.from_ms for before, after in pairwise(ends))
    if exact:
        assert abs(plan.range.from_ms - from_ms) <= 8
        assert abs(plan.range.to_ms - to_ms) <= 8
