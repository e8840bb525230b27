"""What owners do with their recordings: edit, delete, restore."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from archive.library.api import ArchivePath
from archive.library.deletion import mark_deleted, mark_restored
from archive.library.views import ArchiveView, archive_view
from archive.library.visibility import OWNERS_ALONE, owned_by
from archive.problems import (
    NotYourRecording,
    RecordingIsDeleted,
    RecordingNotFound,
    RecordingStillRuns,
    TooLateToRestore,
)
from archive.store import QUERIES, Recordings, Visibility
from eventbus.outbox import Outbox
from events import DeleteReason, RecordingVisibilityChanged
from runtime.endpoints import endpoint
from runtime.tokens import Caller

# That of a stream's title, which a recording begins with.
TITLE_CHARACTERS_MAX = 140
# Control characters, halves of characters, and what breaks a line.
_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def one_visible_line(text: str) -> str:
    """``text`` itself. Raises ValueError when it has control characters or line breaks, or nothing that is seen."""
    categories = {unicodedata.category(character) for character in text}
    if categories & _NOT_IN_A_LINE:
        raise ValueError("must be one line without control characters")
    if all(category[0] in "CZ" for category in categories):
        raise ValueError("must have a character that can be seen")
    return text


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARACTERS_MAX),
    AfterValidator(one_visible_line),
]


class ArchiveChange(BaseModel):
    """What a recording's owner changes; null or left out: it stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Title | None = None
    visibility: Visibility | None = None
    preserve: bool | None = Field(default=None, strict=True, description="Whether retention leaves it alone.")


class LibraryApi:
    """Recordings in their owners' hands."""

    tag = "archives"

    def __init__(self, recordings: Recordings, outbox: Outbox, *, playback_path: str, undo_seconds: float) -> None:
        self._recordings = recordings
        self._outbox = outbox
        self._playback_path = playback_path
        self._undo = timedelta(seconds=undo_seconds)

    @endpoint("PATCH", "/api/archives/{stream_id}", problems=OWNERS_ALONE)
    async def edit_archive(self, caller: Caller, path: ArchivePath, body: ArchiveChange) -> ArchiveView:
        """Change a recording of one's own."""
        await owned_by(self._recordings, path.stream_id, caller)
        if body.model_dump(exclude_none=True):
            async with self._outbox.transaction() as transaction:
                edited = await QUERIES.edit_recording(
                    transaction.connection, stream_id=path.stream_id, **body.model_dump()
                )
                if edited is not None and edited["visibility_changed"]:
                    await transaction.say(
                        RecordingVisibilityChanged(
                            stream_id=path.stream_id,
                            channel_id=edited["channel_id"],
                            visibility=edited["visibility"],
                            changed_at=datetime.now(UTC),
                        )
                    )
            if edited is None:
                raise RecordingIsDeleted("it has been deleted; restore it first")
        return await self._view(caller, path)

    @endpoint(
        "DELETE",
        "/api/archives/{stream_id}",
        problems=(RecordingNotFound, NotYourRecording, RecordingStillRuns),
    )
    async def delete_archive(self, caller: Caller, path: ArchivePath) -> ArchiveView:
        """Delete a recording of one's own, preserved or not.

        It is hidden at once, from its players too, and can be restored until `purge_at`. One whose stream still runs
        cannot be deleted. Doing it again changes nothing.
        """
        recording = await owned_by(self._recordings, path.stream_id, caller, also_deleted=True)
        if recording.deleted_at is None:
            purge_at = datetime.now(UTC) + self._undo
            async with self._outbox.transaction() as transaction:
                deleted = await mark_deleted(transaction, path.stream_id, DeleteReason.OWNER, purge_at)
            view = await self._view(caller, path)
            if not deleted and view.deleted_at is None:
                raise RecordingStillRuns("its stream still runs; end it first")
            return view
        return await self._view(caller, path)

    @endpoint(
        "POST",
        "/api/archives/{stream_id}/restore",
        problems=(RecordingNotFound, NotYourRecording, TooLateToRestore),
    )
    async def restore_archive(self, caller: Caller, path: ArchivePath) -> ArchiveView:
        """Restore a deleted recording of one's own; one that is not deleted stays as it is."""
        recording = await owned_by(self._recordings, path.stream_id, caller, also_deleted=True)
        if recording.deleted_at is not None:
            async with self._outbox.transaction() as transaction:
                await mark_restored(transaction, path.stream_id)
        view = await self._view(caller, path)
        if view.deleted_at is not None:
            raise TooLateToRestore("its undo period is over, its objects are being removed")
        return view

    async def _view(self, caller: Caller, path: ArchivePath) -> ArchiveView:
        recording = await owned_by(self._recordings, path.stream_id, caller, also_deleted=True)
        return archive_view(recording, caller, playback_path=self._playback_path)
