"""The ladder: what a source deserves, and how it is cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.ladder.ladder import CHUNK_SEGMENTS_MAX, LadderStep, SourceSegment, deserved, group_chunks, mark_gaps
from archive.ladder.settings import LadderSettings, parse_ladder

LADDER = parse_ladder(LadderSettings.model_fields["archive_ladder"].default)


def segment(sequence: int, duration_ms: int = 2000, *, discontinuity: bool = False) -> SourceSegment:
    return SourceSegment(sequence, duration_ms, 500_000, discontinuity)


def sizes(width_px: int, height_px: int, pixel_aspect: float = 1.0, *, with_sound: bool = False) -> list[str]:
    renditions = deserved(width_px, height_px, pixel_aspect, ladder=LADDER, with_sound=with_sound)
    return [f"{one.name} {one.width_px}x{one.height_px}" for one in renditions]


def test_a_source_gets_the_steps_below_it_and_its_sound() -> None:
    smaller = ["720p 1280x720", "480p 854x480", "360p 640x360", "audio 0x0"]
    assert sizes(1920, 1080, with_sound=True) == smaller
    assert sizes(2560, 1440, with_sound=True) == ["1080p 1920x1080", *smaller]
    assert [one.video_bits_per_second_max for one in deserved(1920, 1080, ladder=LADDER, with_sound=True)] == [
        *(3_500_000, 1_400_000, 800_000),
        0,
    ]


@pytest.mark.parametrize(
    ("size", "smaller"),
    [
        # Lines are those of the shorter side: a telephone's picture keeps as many pixels as any of that name.
        ((1080, 1920), ["720p 720x1280", "480p 480x854", "360p 360x640"]),
        ((2560, 1080), ["720p 1706x720", "480p 1138x480", "360p 854x360"]),
        ((640, 481), ["480p 638x480", "360p 480x360"]),
        ((1000, 1000), ["720p 720x720", "480p 480x480", "360p 360x360"]),
        ((645, 363), ["360p 640x360"]),
    ],
)
def test_every_rendition_has_the_shape_of_the_source(size: tuple[int, int], smaller: list[str]) -> None:
    assert sizes(*size) == smaller


def test_nothing_is_scaled_up() -> None:
    assert sizes(640, 360, with_sound=True) == ["audio 0x0"]
    assert sizes(4000, 360) == []
    assert sizes(2, 2) == []


def test_no_rendition_is_longer_than_decoders_take() -> None:
    assert sizes(20_000, 1000) == ["360p 7200x360"]
    assert sizes(1000, 20_000) == ["360p 360x7200"]


def test_without_sound_there_is_no_sound_alone_and_without_a_picture_there_is_nothing_to_make() -> None:
    assert sizes(1280, 720) == ["480p 854x480", "360p 640x360"]
    assert sizes(0, 0, with_sound=True) == []


def test_the_shape_of_a_pixel_counts() -> None:
    # 720x576 with 64:45 pixels is shown in 16:9.
    assert sizes(720, 576, 64 / 45)[0] == "480p 854x480"
    # Shown as 480x720, a portrait: 480 lines would be nothing new.
    assert sizes(960, 720, 1 / 2) == ["360p 360x540"]


def test_pixels_of_an_impossible_shape_are_square() -> None:
    assert sizes(1280, 720, 1000.0)[0] == "480p 854x480"


@given(st.integers(1, 8192), st.integers(1, 8192), st.floats(0, 100), st.lists(st.integers(48, 2160), max_size=5))
def test_every_size_is_even_and_smaller(width_px: int, height_px: int, aspect: float, lines: list[int]) -> None:
    ladder = [LadderStep(f"{2 * n}p", 2 * n, 100_000) for n in lines]
    for rendition in deserved(width_px, height_px, aspect, ladder=ladder, with_sound=False):
        assert rendition.width_px % 2 == rendition.height_px % 2 == 0
        assert 2 <= min(rendition.width_px, rendition.height_px) < min(width_px, height_px)
        # Beyond the source's own pixels only where those are not square.
        assert rendition.width_px * rendition.height_px <= width_px * height_px * 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("720p=3500", "'720p=3500' is no step; write lines and kilobits per second: 720p=3500k"),
        ("big=3500k", "'big=3500k' is no step"),
        ("721p=3500k", "'721p=3500k': lines must be an even number from 96 to 4320"),
        ("64p=3500k", "lines must be an even number from 96 to 4320"),
        ("720p=10k", "'720p=10k': kilobits per second must be from 50 to 100000"),
        ("480p=900k,720p=3500k", "720p after 480p: the largest goes first, each once"),
        ("720p=900k,720p=800k", "720p after 720p"),
        ("720p=900k,480p=1400k", "480p has more bits per second than 720p"),
        (",".join(f"{2000 - 2 * n}p=900k" for n in range(9)), "9 steps; at most 8"),
    ],
)
def test_a_ladder_that_makes_no_sense_is_refused_with_the_step_and_the_limit(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_ladder(text)


def test_a_ladder_may_be_empty() -> None:
    assert parse_ladder("") == ()


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
