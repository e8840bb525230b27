"""What people are told of a stream."""

from datetime import datetime
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ConfigDict, Field

from streaming.lifecycle.lifecycle import Status


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class StreamPath(_View):
    """Which stream."""

    stream_id: UUID


class RecordingView(_View):
    """What is known of a stream's recording."""

    status: str = Field(description="`processing` (plays, lower renditions follow), `completed` or `failed`.")
    playback_url: str | None = Field(description="The path of its playlist, once it plays.")
    duration_seconds: float | None


class LiveStreamView(_View):
    """A stream that is not over."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    status: Status = Field(description="`interrupted` while its publisher is away and may come back.")
    started_at: datetime
    playback_url: str


class StreamView(_View):
    """A stream."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    status: Status
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    playback_url: str | None = Field(description="The path of its live playlist while it is not over.")
    recording: RecordingView | None


class LiveStreamsPage(_View):
    """A page of the streams that are on, newest first."""

    items: list[LiveStreamView]
    next_cursor: str | None


def live_url(stream_id: UUID) -> str:
    """The path of a live stream's playlist."""
    return f"/live/{stream_id}/index.m3u8"


def stream_view(row: asyncpg.Record) -> StreamView:
    """What a row of `find_stream` says."""
    recording = None
    if row["recording_status"] is not None:
        recording = RecordingView(
            status=row["recording_status"],
            playback_url=row["recording_path"],
            duration_seconds=row["recording_seconds"],
        )
    return StreamView(
        stream_id=row["stream_id"],
        channel_id=row["channel_id"],
        channel_name=row["channel_name"],
        title=row["title"],
        category=row["category"],
        status=row["status"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
        playback_url=None if row["status"] == Status.ENDED else live_url(row["stream_id"]),
        recording=recording,
    )
