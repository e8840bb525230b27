"""What happens to recordings. A recording has the id of the stream that it records."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, NonNegativeFloat

from events.envelope import Event


class _OfRecording(Event):
    """Said of one recording; keyed by it."""

    stream_id: UUID
    channel_id: UUID

    @property
    def key(self) -> str:
        return str(self.stream_id)


class RecordingPublished(_OfRecording):
    """A recording plays, in its source rendition: every byte that its playlist names is in the object store."""

    type: ClassVar[str] = "recording.published"

    duration_seconds: NonNegativeFloat
    playback_path: str
    """Path of the master playlist on the public origin, such as ``/recordings/<stream_id>/master.m3u8``."""
    published_at: AwareDatetime


class RecordingCompleted(_OfRecording):
    """Every rendition that the source deserves is in the object store and in the master playlist."""

    type: ClassVar[str] = "recording.completed"

    renditions: tuple[str, ...]
    """Names in order of quality, best first; the first is ``source``."""
    completed_at: AwareDatetime


class RecordingFailed(_OfRecording):
    """There will be no recording, or no further rendition of it; what was published stays playable."""

    type: ClassVar[str] = "recording.failed"

    reason: str
    failed_at: AwareDatetime
