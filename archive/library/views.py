"""A recording as the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from archive.library.visibility import is_owner
from archive.objects.keys import master_key
from archive.store import Recording, RecordingFile, Visibility
from runtime.tokens import Caller


class GapView(BaseModel):
    """Some of what was streamed and is not in the recording."""

    model_config = ConfigDict(frozen=True)

    first_sequence: int = Field(description="The number of the first missing segment.")
    last_sequence: int
    at_seconds: float = Field(description="Where in the recording it would be.")
    seconds: float | None = Field(description="How much is missing; null where nobody knows.")
    reason: str


class CaptionsView(BaseModel):
    """Captions of one language."""

    model_config = ConfigDict(frozen=True)

    language: str = Field(description="A BCP 47 tag, such as `en` or `pt-BR`.")
    label: str = Field(description="What a player's menu calls them.")
    url: str = Field(description="Path of the WebVTT file.")
    size_bytes: int


class ArchiveView(BaseModel):
    """One recording."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    visibility: Visibility = Field(
        description="public: in everybody's lists; unlisted: for whoever has the link; private: for its owner, and "
        "those who are given access."
    )
    preserve: bool | None = Field(description="Whether retention leaves it alone; null to all but its owner.")
    status: Literal["pending", "processing", "completed", "failed"] = Field(
        description="pending: the stream runs or its end is being stored; processing: it plays and more renditions "
        "are being made; completed: all are there; failed: `failure` says what is missing."
    )
    progress_percent: int = Field(description="How much of the work on its renditions is done.")
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None = Field(description="Known once it plays.")
    size_bytes: int | None = Field(description="Of its segments in all renditions; known once it plays.")
    playback_url: str | None = Field(
        description="Path of the HLS master playlist, once it plays. Of a private recording it answers only those who "
        "have been given access (`POST …/access`)."
    )
    poster_url: str | None = Field(description="Path of a picture of it (JPEG), once there is one.")
    storyboard_url: str | None = Field(
        description="Path of a WebVTT file whose cues name small pictures of it (`#xywh=` parts of JPEGs beside the "
        "file), for a seek bar; once there is one."
    )
    renditions: list[str] = Field(description="What it plays in now, best first.")
    partial: bool = Field(description="Some of what was streamed is not in it: `missing` says what.")
    missing: list[GapView]
    captions: list[CaptionsView]
    clip_of: UUID | None = Field(description="The recording that it was cut from.")
    clip_from_seconds: float | None = Field(description="Of a clip: where in `clip_of` it begins.")
    clip_to_seconds: float | None = Field(description="Of a clip: where in `clip_of` it ends.")
    replaced_by: UUID | None = Field(description="The clip that took its place, when it was deleted for that.")
    published_at: datetime | None
    completed_at: datetime | None
    failure: str | None
    deleted_at: datetime | None = Field(description="Only its owner still sees it, and may restore it.")
    purge_at: datetime | None = Field(description="From then on a deleted recording cannot be restored.")


def archive_view(recording: Recording, caller: Caller | None, *, playback_path: str) -> ArchiveView:
    """What ``caller``, who may see the recording, is shown of it."""
    plays = recording.published_at is not None and recording.deleted_at is None
    folder = f"{playback_path}/{recording.stream_id}"
    return ArchiveView(
        stream_id=recording.stream_id,
        channel_id=recording.channel_id,
        channel_name=recording.channel_name,
        title=recording.title,
        visibility=recording.visibility,
        preserve=recording.preserve if is_owner(recording, caller) else None,
        status=recording.status,
        progress_percent=recording.progress_percent,
        started_at=recording.started_at,
        ended_at=recording.ended_at,
        duration_seconds=None if recording.duration_ms is None else recording.duration_ms / 1000,
        size_bytes=recording.size_bytes,
        playback_url=f"{playback_path}/{master_key(recording.stream_id)}" if plays else None,
        poster_url=_file_url(recording, "poster", folder),
        storyboard_url=_file_url(recording, "storyboard", folder),
        renditions=list(recording.renditions),
        partial=recording.partial,
        missing=[GapView.model_validate(gap) for gap in recording.missing],
        captions=[captions_view(file, folder) for file in recording.files if file.role == "captions"],
        clip_of=recording.clip_of,
        clip_from_seconds=None if recording.clip_from_ms is None else recording.clip_from_ms / 1000,
        clip_to_seconds=None if recording.clip_to_ms is None else recording.clip_to_ms / 1000,
        replaced_by=recording.replaced_by if recording.delete_reason == "replaced" else None,
        published_at=recording.published_at,
        completed_at=recording.completed_at,
        failure=recording.failure,
        deleted_at=recording.deleted_at,
        purge_at=recording.purge_due_at,
    )


def _file_url(recording: Recording, role: str, folder: str) -> str | None:
    """The path of the recording's only file of a role."""
    if recording.deleted_at is not None:
        return None
    return next((f"{folder}/{file.name}" for file in recording.files if file.role == role), None)


def captions_view(file: RecordingFile, folder: str) -> CaptionsView:
    """A captions file of the recording whose objects are below ``folder`` on the public origin."""
    return CaptionsView(
        language=file.particulars["language"],
        label=file.particulars["label"],
        url=f"{folder}/{file.name}",
        size_bytes=file.size_bytes,
    )
