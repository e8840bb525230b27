"""What of a stream is not in its recording: which segments, where, how much and why; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive.ladder.ladder import SourceSegment

# A recording with more holes than anybody reads keeps the first ones; their number is told in full.
GAPS_MAX = 1_000
REASON_CHARACTERS_MAX = 300

UNKNOWN_REASON = "it was never seen"
NOT_IN_STORE = "the object store does not have it"


@dataclass(frozen=True, slots=True)
class LostSegment:
    """A segment that will not come; its duration where somebody knew it."""

    sequence: int
    reason: str
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive segments that are missing for one reason; ``at_ms`` is the place on the recording's own time line."""

    first_sequence: int
    last_sequence: int
    at_ms: int
    duration_ms: int | None
    reason: str

    @property
    def segments(self) -> int:
        """How many they are."""
        return self.last_sequence - self.first_sequence + 1


def find_gaps(segments: Sequence[SourceSegment], lost: Iterable[LostSegment], *, first_sequence: int = 0) -> list[Gap]:
    """The gaps in ``segments`` (in order), from ``first_sequence`` to the last one that anybody has heard of.

    What is there is not missing, whatever ``lost`` says. The duration of a gap is known when that of each of its
    segments is.
    """
    known = {segment.sequence: segment for segment in lost}
    present = {segment.sequence: segment for segment in segments}
    gaps: list[Gap] = []
    at_ms = 0
    for sequence in range(first_sequence, max([*known, *present], default=-1) + 1):
        if sequence in present:
            at_ms += present[sequence].duration_ms
        else:
            _add(gaps, known.get(sequence) or LostSegment(sequence, UNKNOWN_REASON, None), at_ms)
    return gaps


def _add(gaps: list[Gap], lost: LostSegment, at_ms: int) -> None:
    """Count one missing segment in: into the gap that ends just before it, if that has the same reason."""
    reason = lost.reason[:REASON_CHARACTERS_MAX]
    before = gaps[-1] if gaps else None
    if before is None or before.last_sequence + 1 != lost.sequence or before.reason != reason:
        gaps.append(Gap(lost.sequence, lost.sequence, at_ms, lost.duration_ms, reason))
        return
    known = before.duration_ms is not None and lost.duration_ms is not None
    duration_ms = (before.duration_ms or 0) + (lost.duration_ms or 0) if known else None
    gaps[-1] = Gap(before.first_sequence, lost.sequence, before.at_ms, duration_ms, reason)


def missing_segments(gaps: Iterable[Gap]) -> int:
    """How many segments are missing in all."""
    return sum(gap.segments for gap in gaps)


def described(gaps: Sequence[Gap]) -> list[Mapping[str, Any]]:
    """The gaps as the row and the API have them, the first GAPS_MAX."""
    return [
        {
            "first_sequence": gap.first_sequence,
            "last_sequence": gap.last_sequence,
            "at_seconds": gap.at_ms / 1000,
            "seconds": None if gap.duration_ms is None else gap.duration_ms / 1000,
            "reason": gap.reason,
        }
        for gap in gaps[:GAPS_MAX]
    ]
