"""The ladder: what a source deserves, and how it is cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.ladder import CHUNK_SEGMENTS_MAX, SourceSegment, deserved, group_chunks, mark_gaps


def segment(sequence: int, duration_ms: int = 2000, *, discontinuity: bool = False) -> SourceSegment:
    return SourceSegment(sequence, duration_ms, 500_000, discontinuity)


@pytest.mark.parametrize(
    ("size", "width_px"),
    [((1920, 1080), 854), ((1280, 720), 854), ((640, 481), 638), ((1080, 1920), 270), ((2560, 1080), 1138)],
)
def test_a_larger_source_deserves_480_lines_in_its_own_shape(size: tuple[int, int], width_px: int) -> None:
    (rendition,) = deserved(*size)
    assert (rendition.name, rendition.width_px, rendition.height_px) == ("480p", width_px, 480)


@pytest.mark.parametrize("size", [(854, 480), (640, 360), (2, 2), (0, 0)])
def test_nothing_is_scaled_up(size: tuple[int, int]) -> None:
    assert deserved(*size) == []


def test_the_shape_of_a_pixel_counts() -> None:
    # 720x576 with 64:45 pixels is shown in 16:9.
    assert deserved(720, 576, 64 / 45)[0].width_px == 854


@given(st.integers(1, 8192), st.integers(481, 8192), st.floats(0.2, 5.0))
def test_every_size_is_even(width_px: int, height_px: int, pixel_aspect: float) -> None:
    (rendition,) = deserved(width_px, height_px, pixel_aspect)
    assert rendition.width_px % 2 == rendition.height_px % 2 == 0
    assert rendition.width_px >= 2


def test_segments_are_grouped_to_about_the_target() -> None:
    chunks = group_chunks([segment(n) for n in range(10)], target_ms=6000)
    assert [(c.number, c.first_sequence, c.last_sequence, c.duration_ms) for c in chunks] == [
        (0, 0, 2, 6000),
        (1, 3, 5, 6000),
        (2, 6, 8, 6000),
        (3, 9, 9, 2000),
    ]


def test_no_chunk_reaches_over_a_reconnect() -> None:
    segments = [segment(0), segment(1, discontinuity=True), segment(2), segment(3)]
    chunks = group_chunks(segments, target_ms=6000)
    assert [(c.first_sequence, c.last_sequence, c.discontinuity) for c in chunks] == [(0, 0, False), (1, 3, True)]


def test_a_missing_number_is_a_discontinuity() -> None:
    assert [one.discontinuity for one in mark_gaps([segment(3), segment(4), segment(6), segment(7)])] == [
        False,
        False,
        True,
        False,
    ]


@given(st.lists(st.tuples(st.integers(1, 9000), st.booleans()), max_size=200), st.integers(1, 60_000))
def test_chunks_cover_every_segment_once_in_order(shape: list[tuple[int, bool]], target_ms: int) -> None:
    segments = [segment(n, ms, discontinuity=jump) for n, (ms, jump) in enumerate(shape)]
    chunks = group_chunks(segments, target_ms=target_ms)
    covered = [n for chunk in chunks for n in range(chunk.first_sequence, chunk.last_sequence + 1)]
    assert covered == [one.sequence for one in segments]
    assert sum(chunk.duration_ms for chunk in chunks) == sum(one.duration_ms for one in segments)
    assert all(chunk.last_sequence - chunk.first_sequence < CHUNK_SEGMENTS_MAX for chunk in chunks)
