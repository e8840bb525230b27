"""Planning while the stream runs: chunks that no later segment can change, the same as at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archive.ladder.ladder import Chunk, SourceSegment, group_chunks, mark_gaps
from archive.ladder.planner import closed_chunks


def segment(sequence: int, duration_ms: int = 2000, *, discontinuity: bool = False) -> SourceSegment:
    return SourceSegment(sequence, duration_ms, 500_000, discontinuity)


def test_a_chunk_is_closed_when_it_is_full() -> None:
    assert closed_chunks([segment(0), segment(1)], 0, None, target_ms=6000) == []
    (chunk,) = closed_chunks([segment(0), segment(1), segment(2)], 0, None, target_ms=6000)
    assert (chunk.number, chunk.first_sequence, chunk.last_sequence) == (0, 0, 2)


def test_a_chunk_is_closed_by_a_reconnect() -> None:
    segments = [segment(3), segment(4, discontinuity=True)]
    (chunk,) = closed_chunks(segments, 7, 2, target_ms=6000)
    assert (chunk.number, chunk.first_sequence, chunk.last_sequence, chunk.discontinuity) == (7, 3, 3, False)


def test_a_gap_since_the_last_chunk_is_a_discontinuity() -> None:
    (chunk,) = closed_chunks([segment(5, 6000)], 1, 2, target_ms=6000)
    assert chunk.discontinuity


@given(
    st.lists(st.tuples(st.integers(100, 9000), st.booleans(), st.booleans()), max_size=80),
    st.lists(st.integers(1, 7), min_size=1, max_size=80),
    st.integers(1000, 20_000),
)
def test_planned_bit_by_bit_or_at_once_the_chunks_are_the_same(
    shape: list[tuple[int, bool, bool]], steps: list[int], target_ms: int
) -> None:
    segments: list[SourceSegment] = []
    for duration_ms, jump, gap in shape:
        after = segments[-1].sequence if segments else -1
        segments.append(segment(after + (2 if gap else 1), duration_ms, discontinuity=jump))
    planned: list[Chunk] = []
    seen = 0
    for step in steps:
        seen += step
        last = planned[-1].last_sequence if planned else None
        unplanned = [one for one in segments[:seen] if last is None or one.sequence > last]
        planned += closed_chunks(unplanned, len(planned), last, target_ms=target_ms)
    assert planned == group_chunks(mark_gaps(segments), target_ms=target_ms)[: len(planned)]
