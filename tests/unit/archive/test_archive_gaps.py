"""Gaps: what is missing is told once, in its place, with its length where that is known."""

from hypothesis import given
from hypothesis import strategies as st

from archive.ladder.ladder import SourceSegment
from archive.publishing.gaps import (
    GAPS_MAX,
    NOT_IN_STORE,
    UNKNOWN_REASON,
    Gap,
    LostSegment,
    described,
    find_gaps,
    missing_segments,
)


def segments(*sequences: int) -> list[SourceSegment]:
    return [SourceSegment(sequence, 2_000, 1_000, discontinuity=False) for sequence in sequences]


def test_a_whole_recording_has_no_gap() -> None:
    assert find_gaps(segments(0, 1, 2), []) == []
    assert find_gaps([], []) == []


def test_a_gap_is_where_the_segments_before_it_end() -> None:
    lost = [LostSegment(2, "the file is gone", 2_000), LostSegment(3, "the file is gone", 8_333)]
    assert find_gaps(segments(0, 1, 4, 5), lost) == [Gap(2, 3, 4_000, 10_333, "the file is gone")]


def test_what_nobody_has_seen_is_missing_for_an_unknown_time() -> None:
    lost = [LostSegment(2, UNKNOWN_REASON, 2_000)]
    assert find_gaps(segments(0, 3), lost) == [Gap(1, 2, 2_000, None, UNKNOWN_REASON)]


def test_beginning_and_end_may_be_missing() -> None:
    lost = [LostSegment(4, "the file is gone", None)]
    assert find_gaps(segments(2, 3), lost) == [
        Gap(0, 1, 0, None, UNKNOWN_REASON),
        Gap(4, 4, 4_000, None, "the file is gone"),
    ]


def test_one_reason_a_gap() -> None:
    lost = [LostSegment(1, "the file is gone", 2_000), LostSegment(2, NOT_IN_STORE, 2_000)]
    assert [gap.reason for gap in find_gaps(segments(0, 3), lost)] == ["the file is gone", NOT_IN_STORE]


def test_what_turned_up_is_not_missing() -> None:
    assert find_gaps(segments(0, 1, 2), [LostSegment(1, "the file is gone", 2_000)]) == []


def test_the_description_is_that_of_the_api_and_bounded() -> None:
    assert described([Gap(2, 3, 4_000, 10_333, "gone"), Gap(5, 5, 6_000, None, "gone")]) == [
        {"first_sequence": 2, "last_sequence": 3, "at_seconds": 4.0, "seconds": 10.333, "reason": "gone"},
        {"first_sequence": 5, "last_sequence": 5, "at_seconds": 6.0, "seconds": None, "reason": "gone"},
    ]
    every_other = find_gaps(segments(*range(0, 4 * GAPS_MAX, 2)), [])
    assert missing_segments(every_other) == 2 * GAPS_MAX - 1
    assert len(described(every_other)) == GAPS_MAX


@given(present=st.sets(st.integers(0, 40)), lost=st.sets(st.integers(0, 40)))
def test_every_number_is_either_there_or_missing_once(present: set[int], lost: set[int]) -> None:
    gaps = find_gaps(segments(*sorted(present)), [LostSegment(number, str(number % 3), 1) for number in sorted(lost)])
    missing = [number for gap in gaps for number in range(gap.first_sequence, gap.last_sequence + 1)]
    assert sorted([*missing, *present]) == list(range(max(present | lost, default=-1) + 1))
    assert missing_segments(gaps) == len(missing)
    assert [gap.at_ms for gap in gaps] == [
        2_000 * len([number for number in present if number < gap.first_sequence]) for gap in gaps
    ]
