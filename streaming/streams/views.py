"""What people are told of a stream."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ConfigDict, Field

from events import Visibility


class StreamStatus(StrEnum):
    """Where a stream stands, as people see it."""

    PREPARED = "prepared"
    LIVE = "live"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


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
    """A stream in a list."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    tags: tuple[str, ...]
    language: str | None = Field(description="The BCP 47 tag of what is spoken, if the streamer says.")
    visibility: Visibility
    status: StreamStatus = Field(description="`interrupted` while its publisher is away and may come back.")
    scheduled_at: datetime | None = Field(default=None, description="When a prepared one is to begin, if that is said.")
    started_at: datetime | None
    ended_at: datetime | None = None
    playback_url: str | None = Field(
        description="Where its live playlist is while it is on: a path, or a URL where a media server serves it "
        "itself. Null for a private stream: ask `POST …/playback`."
    )
    viewers: int | None = Field(
        default=None, description="How many watch, as of seconds ago. Null: it is not on, or it cannot be said."
    )


class StreamView(LiveStreamView):
    """A stream."""

    end_reason: str | None
    recording: RecordingView | None


class LiveStreamsPage(_View):
    """A page of streams: those that are on or over newest first, prepared ones in the order of their times."""

    items: list[LiveStreamView]
    next_cursor: str | None


class CategoryView(_View):
    """What streams are about."""

    category: str
    streams: int = Field(description="How many public streams that are on are about it.")


class CategoriesView(_View):
    """Categories, those with the most streams first."""

    items: list[CategoryView]


def live_url(stream_id: UUID) -> str:
    """The path of a live stream's playlist."""
    return f"/live/{stream_id}/index.m3u8"


def listed_view(row: asyncpg.Record) -> LiveStreamView:
    """What a row of one of the lists says."""
    return LiveStreamView(**_said(row))


def stream_view(row: asyncpg.Record) -> StreamView:
    """What a row of `find_stream` says."""
    recording = None
    if row["recording_status"] is not None:
        recording = RecordingView(
            status=row["recording_status"],
            playback_url=row["recording_path"],
            duration_seconds=row["recording_seconds"],
        )
    return StreamView(**_said(row), end_reason=row["end_reason"], recording=recording)


def prepared_view(row: asyncpg.Record) -> StreamView:
    """What a row of `find_prepared_stream` says."""
    return StreamView(**_said(row), end_reason=None, recording=None)


def _said(row: asyncpg.Record) -> dict[str, Any]:
    said = {name: row[name] for name in LiveStreamView.model_fields if name in row}
    if "prepared_id" in row:
        return said | {
            "stream_id": row["prepared_id"],
            "status": StreamStatus.PREPARED,
            "started_at": None,
            "playback_url": None,
        }
    plays = row["status"] != StreamStatus.ENDED and row["visibility"] != Visibility.PRIVATE
    return said | {"playback_url": live_url(row["stream_id"]) if plays else None}
