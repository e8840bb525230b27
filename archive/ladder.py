"""Which renditions a source deserves, and in which chunks they are made; pure.

Nothing is ever scaled up, so a source of 480 lines or fewer keeps only itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

SOURCE = "source"
CHUNK_SEGMENTS_MAX = 64


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One rendition that may be made: its lines, and the most bits per second that its picture may take."""

    name: str
    height_px: int
    video_bits_per_second_max: int


@dataclass(frozen=True, slots=True)
class Rendition:
    """One rendition that will be made of a certain source, its width already decided."""

    name: str
    width_px: int
    height_px: int
    video_bits_per_second_max: int


@dataclass(frozen=True, slots=True)
class SourceSegment:
    """One segment as it was shipped; ``discontinuity``: its timestamps do not go on from the segment before."""

    sequence: int
    duration_ms: int
    size_bytes: int
    discontinuity: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive source segments that one job turns into one segment of a rendition."""

    number: int
    first_sequence: int
    last_sequence: int
    duration_ms: int
    discontinuity: bool


LADDER: tuple[LadderStep, ...] = (LadderStep("480p", height_px=480, video_bits_per_second_max=1_400_000),)


def step_named(name: str) -> LadderStep:
    """The step of the ladder with this name. Raises KeyError."""
    return {step.name: step for step in LADDER}[name]


def deserved(
    width_px: int, height_px: int, pixel_aspect: float = 1.0, ladder: Sequence[LadderStep] = LADDER
) -> list[Rendition]:
    """The renditions below a source of this size; ``pixel_aspect`` is the width of a pixel over its height.

    H.264 with 4:2:0 colour takes even sizes only, so the width is the nearest even number to the true one.
    """
    if width_px <= 0 or height_px <= 0:
        return []
    aspect = width_px * pixel_aspect / height_px
    return [
        Rendition(
            step.name,
            width_px=max(2, 2 * round(step.height_px * aspect / 2)),
            height_px=step.height_px,
            video_bits_per_second_max=step.video_bits_per_second_max,
        )
        for step in ladder
        if step.height_px < height_px
    ]


def mark_gaps(segments: Iterable[SourceSegment]) -> list[SourceSegment]:
    """The same segments, with a discontinuity wherever a number is missing: the timestamps jump there."""
    marked: list[SourceSegment] = []
    for segment in segments:
        gap = bool(marked) and segment.sequence != marked[-1].sequence + 1
        marked.append(replace(segment, discontinuity=segment.discontinuity or gap))
    return marked


def group_chunks(segments: Sequence[SourceSegment], *, target_ms: int) -> list[Chunk]:
    """Chunks of at least ``target_ms`` where the segments allow it; none reaches over a discontinuity.

    Starting an encoder costs about as much as encoding half a second, so 2 s segments are not encoded one by one.
    """
    groups: list[list[SourceSegment]] = []
    for segment in segments:
        full = not groups or sum(s.duration_ms for s in groups[-1]) >= target_ms
        if full or segment.discontinuity or len(groups[-1]) >= CHUNK_SEGMENTS_MAX:
            groups.append([])
        groups[-1].append(segment)
    return [
        Chunk(
            number,
            first_sequence=group[0].sequence,
            last_sequence=group[-1].sequence,
            duration_ms=sum(segment.duration_ms for segment in group),
            discontinuity=group[0].discontinuity,
        )
        for number, group in enumerate(groups)
    ]
