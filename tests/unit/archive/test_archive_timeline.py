"""What a recording shows when, over interruptions, lost segments and clocks that drift."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from archive.ladder.ladder import SourceSegment
from archive.publishing.timeline import ANCHORS_MAX, find_timeline
from events import TimelineAnchor

START = datetime(2026, 5, 4, 18, 0, tzinfo=UTC)


def segments(count: int, *, anew: tuple[int, ...] = ()) -> list[SourceSegment]:
    return [SourceSegment(number, 2_000, 10, number in anew) for number in range(count)]


def ends(*seconds: float) -> dict[int, datetime]:
    return {number: START + timedelta(seconds=after) for number, after in enumerate(seconds)}


def shown(made: Sequence[TimelineAnchor]) -> list[tuple[float, float]]:
    return [(anchor.at_seconds, (anchor.at - START).total_seconds()) for anchor in made]


def test_it_begins_when_its_first_segment_did() -> None:
    assert shown(find_timeline(segments(3), ends(3, 5, 7), START)) == [(0.0, 1.0)]


def test_behind_an_interruption_it_goes_on_later() -> None:
    assert shown(find_timeline(segments(4, anew=(2,)), ends(2, 4, 26, 28), START)) == [(0.0, 0.0), (4.0, 24.0)]


def test_a_clock_that_runs_away_is_followed_without_an_interruption() -> None:
    assert shown(find_timeline(segments(4), ends(2, 4.5, 6.9, 28), START)) == [(0.0, 0.0), (6.0, 26.0)]


def test_without_times_it_begins_with_its_stream() -> None:
    assert shown(find_timeline(segments(4, anew=(2,)), {}, START)) == [(0.0, 0.0)]


def test_a_time_that_goes_back_is_not_believed() -> None:
    assert shown(find_timeline(segments(3, anew=(1, 2)), ends(20, 4, 50), START)) == [(0.0, 18.0), (4.0, 48.0)]


def test_there_are_not_more_than_fit_into_an_event() -> None:
    many = segments(3_000, anew=tuple(range(3_000)))
    made = find_timeline(many, ends(*[10.0 * number for number in range(1, 3_001)]), START)
    assert len(made) == ANCHORS_MAX
