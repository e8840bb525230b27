"""Which renditions a source deserves, and in which chunks they are made; pure.

Nothing is ever scaled up, so a source of 360 lines or fewer gets no smaller picture, and its sound alone at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

SOURCE = "source"
AUDIO = "audio"
CHUNK_SEGMENTS_MAX = 64
# Pixels are that far from square at most; whoever says more would make a narrow picture giant.
PIXEL_ASPECT_MAX = 4.0
# No rendition is longer; a level of H.264 for more is played almost nowhere (ITU-T H.264 A.3.1).
SIDE_PX_MAX = 8192


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One rendition that may be made, and the most bits per second that its picture may take.

    ``lines`` counts pixels along the picture's shorter side, so that a portrait 720p has as many pixels as any 720p.
    """

    name: str
    lines: int
    video_bits_per_second_max: int


@dataclass(frozen=True, slots=True)
class Rendition:
    """One rendition that will be made of a certain source, its size already decided; 0x0 is its sound alone."""

    name: str
    width_px: int
    height_px: int
    video_bits_per_second_max: int

    @property
    def has_video(self) -> bool:
        """Whether there is a picture in it."""
        return self.height_px > 0


SOUND_ALONE = Rendition(AUDIO, width_px=0, height_px=0, video_bits_per_second_max=0)


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


def deserved(
    width_px: int,
    height_px: int,
    pixel_aspect: float = 1.0,
    *,
    ladder: Sequence[LadderStep],
    with_sound: bool,
) -> list[Rendition]:
    """The renditions of a source of this size, best first; ``pixel_aspect`` is the width of a pixel over its height.

    ``with_sound``: it has sound, and its sound alone is wanted, too. A source without a picture is its sound alone.
    """
    if width_px <= 0 or height_px <= 0:
        return []
    if not 1 / PIXEL_ASPECT_MAX <= pixel_aspect <= PIXEL_ASPECT_MAX:
        pixel_aspect = 1.0
    lines = min(width_px, width_px * pixel_aspect, height_px)
    pictures = [_scaled(step, width_px * pixel_aspect / height_px) for step in ladder if step.lines < lines]
    pictures = [one for one in pictures if max(one.width_px, one.height_px) <= SIDE_PX_MAX]
    return [*pictures, SOUND_ALONE] if with_sound else pictures


def _scaled(step: LadderStep, aspect: float) -> Rendition:
    """The step in the shape of the source. H.264 with 4:2:0 colour takes even sizes only: the other side is rounded."""
    width_px = _even(step.lines * aspect) if aspect >= 1 else step.lines
    height_px = step.lines if aspect >= 1 else _even(step.lines / aspect)
    return Rendition(step.name, width_px, height_px, step.video_bits_per_second_max)


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))


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
