"""What anybody may ask of recordings: lists and one by id, each as far as the caller may see."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from archive.library.views import ArchiveView, archive_view
from archive.library.visibility import seen_by
from archive.problems import RecordingNotFound
from archive.store import Recordings
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.problems import NotAuthenticated
from runtime.tokens import Caller

LAST_ID = UUID(int=(1 << 128) - 1)


class ArchivePath(BaseModel):
    """Which recording."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID = Field(description="The recording's id, which is its stream's (a clip has one of its own).")


class ArchiveQuery(PageQuery):
    """Which recordings."""

    channel_id: UUID | None = Field(default=None, description="Only this channel's.")
    mine: bool = Field(default=False, description="Only the caller's own, with those that others do not see.")


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

    @endpoint("GET", "/api/archives", problems=(NotAuthenticated,))
    async def list_archives(self, caller: Caller | None, query: ArchiveQuery) -> ArchivePage:
        """List recordings, newest first.

        Those that are public; of the caller's own channel also unlisted, private and deleted ones.
        """
        before = LAST_ID if query.cursor is None else decode_cursor(query.cursor, UUID)[0]
        channel_id = _own_channel(caller) if query.mine else query.channel_id
        # One more than asked for tells whether there is a next page.
        found = await self._recordings.page(
            before=before,
            rows_max=query.limit + 1,
            channel_id=channel_id,
            everything=caller is not None and caller.user_id == channel_id,
        )
        shown = found[: query.limit]
        more = len(found) > query.limit
        return ArchivePage(
            items=[archive_view(recording, caller, playback_path=self._playback_path) for recording in shown],
            next_cursor=encode_cursor(shown[-1].stream_id) if more else None,
        )

    @endpoint("GET", "/api/archives/{stream_id}", problems=(RecordingNotFound,))
    async def get_archive(self, caller: Caller | None, path: ArchivePath) -> ArchiveView:
        """Get one recording, and how far it is."""
        recording = await seen_by(self._recordings, path.stream_id, caller)
        return archive_view(recording, caller, playback_path=self._playback_path)


def _own_channel(caller: Caller | None) -> UUID:
    if caller is None:
        raise NotAuthenticated("log in to see your own recordings: `Authorization: Bearer …`")
    return caller.user_id
