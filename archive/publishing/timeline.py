"""What a recording shows when: its start, and every place behind which its time and the clock part; pure.

The durations of segments are a recording's own time. While a publisher is away, or segments are lost, the clock goes on
and the recording does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from archive.ladder.ladder import SourceSegment
from events import TimelineAnchor

DRIFT_SECONDS_MAX = 2.0
"""Further apart than this, the recording and the clock are brought together again, also without an interruption."""
ANCHORS_MAX = 1_000


def find_timeline(
    segments: Sequence[SourceSegment], ended_at: Mapping[int, datetime], started_at: datetime
) -> list[TimelineAnchor]:
    """The anchors of a recording of these segments, in order, ascending in both.

    ``ended_at`` is when each segment had been written, by its number, as far as that is known. Where it is not, the
    recording is taken to begin with its stream (``started_at``), and to go on without a pause.
    """
    anchors: list[TimelineAnchor] = []
    at_ms = 0
    for segment in segments:
        ended = ended_at.get(segment.sequence)
        begins = None if ended is None else ended - timedelta(milliseconds=segment.duration_ms)
        if not anchors:
            anchors.append(TimelineAnchor(at_seconds=0.0, at=begins or started_at))
        elif begins is not None and _parts(anchors[-1], at_ms, begins, segment.discontinuity):
            anchors.append(TimelineAnchor(at_seconds=at_ms / 1000, at=begins))
        if len(anchors) == ANCHORS_MAX:
            break
        at_ms += segment.duration_ms
    return anchors


def _parts(last: TimelineAnchor, at_ms: int, begins: datetime, discontinuity: bool) -> bool:
    if begins <= last.at or at_ms / 1000 <= last.at_seconds:
        return False
    drift_seconds = (begins - last.at).total_seconds() - (at_ms / 1000 - last.at_seconds)
    return discontinuity or abs(drift_seconds) > DRIFT_SECONDS_MAX
