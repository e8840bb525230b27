"""What happens to recordings. A recording has the id of the stream that it records."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt

from events.envelope import Event
from events.visibility import Visibility


class TimelineAnchor(BaseModel):
    """A place in a recording and the moment that it shows. From there on both go on together, until the next anchor."""

    model_config = ConfigDict(frozen=True)

    at_seconds: NonNegativeFloat
    at: AwareDatetime


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
    partial: bool = False
    """Some of what was streamed is not in it; the archive's API says what."""
    missing_segments: NonNegativeInt = 0
    """How many segments of the stream are not in it."""
    clip_of: UUID | None = None
    """The recording that it was cut from; None: it is a stream's own. A clip has an id of its own as ``stream_id``."""
    clip_from_seconds: NonNegativeFloat | None = None
    """Where in that recording the clip begins."""
    visibility: Visibility = Visibility.PUBLIC
    timeline: tuple[TimelineAnchor, ...] = ()
    """What it shows when, in order: its start, and each place behind an interruption. Empty: unknown, or a clip."""


class RecordingVisibilityChanged(_OfRecording):
    """Its owner decided anew who sees a recording; also said while its stream still runs."""

    type: ClassVar[str] = "recording.visibility-changed"

    visibility: Visibility
    changed_at: AwareDatetime


class RecordingProgressed(_OfRecording):
    """More of a recording's renditions is there. Said at every full tenth, so nine times at most."""

    type: ClassVar[str] = "recording.progressed"

    percent: Annotated[int, Field(ge=1, le=99)]
    """How much of the work is done."""
    progressed_at: AwareDatetime


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


class DeleteReason(StrEnum):
    """Why a recording was deleted."""

    OWNER = "owner"
    """Its owner asked for it."""
    RETENTION = "retention"
    """It was older than recordings are kept."""
    REPLACED = "replaced"
    """A trimmed one took its place."""
    ACCOUNT = "account"
    """Its owner's account was deleted."""


class RecordingDeleted(_OfRecording):
    """A recording is not to be seen any more. Until ``purge_at`` it can be restored."""

    type: ClassVar[str] = "recording.deleted"

    reason: DeleteReason
    deleted_at: AwareDatetime
    purge_at: AwareDatetime
    """From then on its objects are removed."""


class RecordingRestored(_OfRecording):
    """A deleted recording is to be seen again."""

    type: ClassVar[str] = "recording.restored"

    restored_at: AwareDatetime
