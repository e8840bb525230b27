"""Downloads over the API: ask for a recording as one MP4 file, and see how far it is."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from archive.downloads.requests import Download, DownloadRequests, WantedRendition
from archive.downloads.settings import DownloadPolicy
from archive.ladder.ladder import SOURCE
from archive.library.api import ArchivePath
from archive.library.visibility import is_owner, seen_by
from archive.problems import (
    DownloadNotFound,
    DownloadsRefused,
    DownloadTooLarge,
    RecordingDoesNotPlay,
    RecordingIsDeleted,
    RecordingNotFound,
)
from archive.recording_files import file_key
from archive.store import Recording, Recordings
from runtime.endpoints import endpoint
from runtime.problems import ValidationFailed
from runtime.tokens import Caller

RENDITION_CHARACTERS_MAX = 32


class DownloadBody(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rendition: str = Field(
        default=SOURCE,
        min_length=1,
        max_length=RENDITION_CHARACTERS_MAX,
        description="One of the recording's `renditions`.",
    )


class DownloadQuery(DownloadBody):
    """Which download."""


class DownloadView(BaseModel):
    """How far a download is."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID
    rendition: str
    status: Literal["pending", "making", "ready", "failed"] = Field(
        description="pending: it waits for its turn; making: `progress` says how far; ready: `url` is there until "
        "`expires_at`; failed: `failure` says why, and it may be asked for again."
    )
    progress: float = Field(ge=0, le=1, description="How much of it is made, from 0 to 1.")
    size_bytes: int | None = Field(description="Known once it is ready.")
    url: str | None = Field(
        description="Path of the MP4 file, once it is ready. It never changes, so a download that was cut off can be "
        "resumed (Range, If-Range)."
    )
    expires_at: datetime | None = Field(description="Until then it stays; asking for it again makes it stay longer.")
    failure: str | None


class DownloadApi:
    """Recordings as one MP4 file."""

    tag = "archives"

    def __init__(
        self,
        recordings: Recordings,
        requests: DownloadRequests,
        *,
        policy: DownloadPolicy,
        bytes_max: int,
        playback_path: str,
    ) -> None:
        self._recordings = recordings
        self._requests = requests
        self._policy = policy
        self._bytes_max = bytes_max
        self._playback_path = playback_path

    @endpoint(
        "POST",
        "/api/archives/{stream_id}/download",
        status=202,
        problems=(
            RecordingNotFound,
            DownloadsRefused,
            RecordingDoesNotPlay,
            RecordingIsDeleted,
            DownloadTooLarge,
            ValidationFailed,
        ),
    )
    async def ask_for_download(
        self, caller: Caller | None, path: ArchivePath, body: DownloadBody | None
    ) -> DownloadView:
        """Have a recording made into one MP4 file, without encoding it anew. Asking twice makes one file."""
        name = SOURCE if body is None else body.rendition
        wanted = await self._wanted(caller, path.stream_id, name, field="body.rendition")
        if wanted.bytes_expected > self._bytes_max:
            message = f"it has about {wanted.bytes_expected} bytes; {self._bytes_max} are the most"
            raise DownloadTooLarge(
                f"the rendition {name!r} is too large for a download: {message}",
                bytes_expected=wanted.bytes_expected,
                bytes_max=self._bytes_max,
                errors=[{"field": "body.rendition", "message": message}],
            )
        return self._view(path.stream_id, name, await self._requests.ask(path.stream_id, wanted))

    @endpoint(
        "GET",
        "/api/archives/{stream_id}/download",
        problems=(
            RecordingNotFound,
            DownloadsRefused,
            RecordingDoesNotPlay,
            RecordingIsDeleted,
            DownloadNotFound,
            ValidationFailed,
        ),
    )
    async def get_download(self, caller: Caller | None, path: ArchivePath, query: DownloadQuery) -> DownloadView:
        """See how far a download is that was asked for."""
        wanted = await self._wanted(caller, path.stream_id, query.rendition, field="query.rendition")
        found = await self._requests.find(path.stream_id, wanted)
        if found is None:
            raise DownloadNotFound(f"nobody has asked for {query.rendition!r}, or its time is over; ask for it (POST)")
        return self._view(path.stream_id, query.rendition, found)

    async def _wanted(self, caller: Caller | None, stream_id: UUID, name: str, *, field: str) -> WantedRendition:
        recording = await seen_by(self._recordings, stream_id, caller)
        self._allow(recording, caller)
        if recording.deleted_at is not None:
            raise RecordingIsDeleted("it has been deleted; restore it first")
        if recording.published_at is None or recording.duration_ms is None:
            raise RecordingDoesNotPlay("there is nothing to download until it plays")
        wanted = await self._requests.rendition(stream_id, name, duration_ms=recording.duration_ms)
        if wanted is None:
            message = f"must be one of {', '.join(recording.renditions)}"
            raise ValidationFailed(f"{field} {message}", errors=[{"field": field, "message": message}])
        return wanted

    def _allow(self, recording: Recording, caller: Caller | None) -> None:
        if self._policy == "off":
            raise DownloadsRefused("there are no downloads here (archive_downloads is off)")
        if self._policy == "owner" and not is_owner(recording, caller):
            raise DownloadsRefused("only the streamer of its channel may download it (archive_downloads is owner)")

    def _view(self, stream_id: UUID, rendition: str, download: Download) -> DownloadView:
        url = None if download.name is None else f"{self._playback_path}/{file_key(stream_id, download.name)}"
        return DownloadView(
            stream_id=stream_id,
            rendition=rendition,
            status=download.status,
            progress=download.progress,
            size_bytes=download.size_bytes,
            url=url,
            expires_at=download.expires_at,
            failure=download.failure,
        )
