"""Seconds of a recording and moments belong together in both directions, over every seam."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.replay.timeline import Anchor, Timeline, ordered

START = datetime(2026, 5, 4, 18, 0, tzinfo=UTC)


def anchor(at_seconds: float, after_seconds: float) -> Anchor:
    return Anchor(at_seconds, START + timedelta(seconds=after_seconds))


INTERRUPTED = Timeline([anchor(0, 1), anchor(10, 41)], ends_seconds=20)
"""Ten seconds, half a minute of nothing, ten more seconds."""


@pytest.mark.parametrize(
    ("after_seconds", "at_seconds"),
    [(-5, 0), (1, 0), (6, 5), (10.9, 9.9), (11, 10), (25, 10), (41, 10), (46, 15), (51, 20), (500, 20)],
)
def test_a_moment_has_its_second(after_seconds: float, at_seconds: float) -> None:
    assert INTERRUPTED.seconds_of(START + timedelta(seconds=after_seconds)) == pytest.approx(at_seconds)


@pytest.mark.parametrize(("at_seconds", "after_seconds"), [(0, 1), (5, 6), (10, 11), (10.5, 41.5), (20, 51), (99, 51)])
def test_a_second_begins_with_what_was_said_while_nothing_was_recorded(at_seconds: float, after_seconds: float) -> None:
    assert INTERRUPTED.earliest(at_seconds) == START + timedelta(seconds=after_seconds)


def test_a_running_stream_has_no_end() -> None:
    assert Timeline([anchor(0, 0)]).seconds_of(START + timedelta(hours=9)) == 9 * 3_600


def test_anchors_that_go_back_are_left_out() -> None:
    told = [anchor(0, 5), anchor(10, 3), anchor(20, 25)]
    assert ordered(told) == [told[0], told[2]]


PIECES = st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 1_000)), min_size=1, max_size=8)


@given(PIECES, st.integers(0, 20_000), st.integers(0, 8_000))
def test_every_moment_is_in_the_second_that_it_is_said_to_be_in(
    pieces: list[tuple[int, int]], after_seconds: int, asked: int
) -> None:
    """What a page from a second on shows is exactly what belongs to that second or to a later one."""
    anchors, at, after = [], 0, 0
    for recorded, away in pieces:
        anchors.append(anchor(at, after))
        at, after = at + recorded, after + recorded + away
    timeline = Timeline(ordered(anchors), ends_seconds=at)
    moment = START + timedelta(seconds=after_seconds)
    if asked <= at:
        assert (moment >= timeline.earliest(asked)) == (timeline.seconds_of(moment) >= asked)
