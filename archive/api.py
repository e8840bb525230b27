"""What anybody may ask of recordings; reading is public, as the recordings are."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from archive.objects import master_key
from archive.store import Recording, Recordings
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.problems import NotFound

LAST_ID = UUID(int=(1 << 128) - 1)


class RecordingNotFound(NotFound):
    """No stream with this id was ever recorded."""

    type = "recording-not-found"
    title = "There is no such recording"


class ArchivePath(BaseModel):
    """Which recording."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID = Field(description="The recording's id, which is its stream's.")


class ArchiveQuery(PageQuery):
    """Which recordings."""

    channel_id: UUID | None = Field(default=None, description="Only this channel's.")


class ArchiveView(BaseModel):
    """One recording."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    status: Literal["pending", "processing", "completed", "failed"] = Field(
        description="pending: the stream runs or its end is being stored; processing: it plays and more renditions "
        "are being made; completed: all are there; failed: `failure` says what is missing."
    )
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None = Field(description="Known once it plays.")
    playback_url: str | None = Field(description="Path of the HLS master playlist, once it plays.")
    renditions: list[str] = Field(description="What it plays in now, best first.")
    published_at: datetime | None
    completed_at: datetime | None
    failure: str | None


class ArchivePage(BaseModel):
    """Some recordings, newest first."""

    model_config = ConfigDict(frozen=True)

    items: list[ArchiveView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")


class ArchiveApi:
    """Recordings by channel and by id."""

    tag = "archives"

    def __init__(self, recordings: Recordings, *, playback_path: str) -> None:
        self._recordings = recordings
        self._playback_path = playback_path

    @endpoint("GET", "/api/archives")
    async def list_archives(self, query: ArchiveQuery) -> ArchivePage:
        """List recordings, newest first."""
        before = LAST_ID if query.cursor is None else decode_cursor(query.cursor, UUID)[0]
        # One more than asked for tells whether there is a next page.
        found = await self._recordings.page(before=before, rows_max=query.limit + 1, channel_id=query.channel_id)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return ArchivePage(
            items=[self._view(recording) for recording in shown],
            next_cursor=encode_cursor(shown[-1].stream_id) if more else None,
        )

    @endpoint("GET", "/api/archives/{stream_id}", problems=(RecordingNotFound,))
    async def get_archive(self, path: ArchivePath) -> ArchiveView:
        """Get one recording, and how far it is."""
        recording = await self._recordings.find(path.stream_id)
        if recording is None:
            raise RecordingNotFound(f"no recording {path.stream_id}")
        return self._view(recording)

    def _view(self, recording: Recording) -> ArchiveView:
        plays = recording.published_at is not None
        return ArchiveView(
            stream_id=recording.stream_id,
            channel_id=recording.channel_id,
            channel_name=recording.channel_name,
            title=recording.title,
            status=recording.status,
            started_at=recording.started_at,
            ended_at=recording.ended_at,
            duration_seconds=None if recording.duration_ms is None else recording.duration_ms / 1000,
            playback_url=f"{self._playback_path}/{master_key(recording.stream_id)}" if plays else None,
            renditions=list(recording.renditions),
            published_at=recording.published_at,
            completed_at=recording.completed_at,
            failure=recording.failure,
        )
