"""What a recording's source is, from a look at a few of its segments in the store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import structlog

from archive.errors import MediaRefused, ProcessError, ProcessTimedOut
from archive.ladder.ladder import SourceSegment
from archive.media.probe import MediaFacts, probe
from archive.media.process import ProcessRunner
from archive.objects.keys import source_segment_key
from runtime.objects import ObjectMissing, ObjectStore

log = structlog.get_logger(__name__)

LOOKS_AGAIN_MAX = 2


class SourceProbe:
    """Fetches segments and probes them, one at a time."""

    def __init__(self, objects: ObjectStore, runner: ProcessRunner, work_directory: Path) -> None:
        self._objects = objects
        self._runner = runner
        self._work_directory = work_directory

    async def look(self, stream_id: UUID, segments: Sequence[SourceSegment]) -> MediaFacts:
        """The facts of the first of a few segments that has a picture, or else of one that has sound.

        Raises MediaRefused when none of them can be used.
        """
        sound: MediaFacts | None = None
        reason = "it cannot be read"
        looked_at, again = _looked_at(segments), 0
        for segment in looked_at:  # it grows
            try:
                facts = await self._probe(stream_id, segment.sequence)
            except (MediaRefused, ProcessError, ObjectMissing) as error:
                if isinstance(error, ProcessTimedOut) and again < LOOKS_AGAIN_MAX:
                    # A machine that stood still says nothing of the media.
                    again += 1
                    looked_at.append(segment)
                reason = str(error)
                log.warning("segment_unreadable", sequence=segment.sequence, reason=reason)
                continue
            if facts.has_video:
                return facts
            sound = facts
        if sound is None:
            raise MediaRefused(f"its media cannot be used: {reason}")
        return sound

    async def _probe(self, stream_id: UUID, sequence: int) -> MediaFacts:
        with tempfile.TemporaryDirectory(dir=self._work_directory, prefix="probe-") as directory:
            path = Path(directory) / "segment.ts"
            await self._objects.get_file(source_segment_key(stream_id, sequence), path)
            return await probe(self._runner, path)


def _looked_at(segments: Sequence[SourceSegment]) -> list[SourceSegment]:
    """Segments from all over the recording, the middle first: the first ones may hold sound alone."""
    last = len(segments) - 1
    return [segments[at] for at in dict.fromkeys((last // 2, last // 4, last * 3 // 4, 0, last))] if segments else []
