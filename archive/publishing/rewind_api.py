"""Going back in a running stream: a playlist that grows, of what is in the store."""

from __future__ import annotations

from aiohttp import web

from archive.library.api import ArchivePath
from archive.library.visibility import seen_by
from archive.objects.keys import PLAYLIST
from archive.parts import ArchiveParts
from archive.problems import RecordingDoesNotPlay, RecordingIsDeleted, RecordingNotFound
from archive.publishing.rewind import Rewinds
from archive.store import Recordings
from runtime.assembly import Assembly
from runtime.endpoints import endpoint
from runtime.tokens import Caller

# So long an answer may be kept: less than any segment lasts.
MAX_AGE_SECONDS = 1


class RewindApi:
    """The playlist of a stream that is being recorded."""

    tag = "archives"

    def __init__(self, recordings: Recordings, rewinds: Rewinds) -> None:
        self._recordings = recordings
        self._rewinds = rewinds

    @endpoint(
        "GET",
        "/api/archives/{stream_id}/rewind.m3u8",
        problems=(RecordingNotFound, RecordingIsDeleted, RecordingDoesNotPlay),
        limit=None,
    )
    async def rewind_archive(self, caller: Caller | None, path: ArchivePath, request: web.Request) -> web.Response:
        """Get the playlist of a stream from its first second, while it runs.

        An HLS media playlist of type EVENT: it grows until the recording plays (or never will), and is complete then.
        It names the segments of the source rendition by absolute paths.
        """
        recording = await seen_by(self._recordings, path.stream_id, caller)
        if recording.deleted_at is not None:
            raise RecordingIsDeleted("it has been deleted; restore it first")
        over = recording.published_at is not None or recording.status == "failed"
        text = await self._rewinds.text(path.stream_id, ended=over)
        if text.segments == 0:
            raise RecordingDoesNotPlay("none of its segments is there yet")
        whose = "public" if recording.visibility == "public" else "private"
        headers = {"Cache-Control": f"{whose}, max-age={MAX_AGE_SECONDS}", "ETag": f'"{text.version}"'}
        if any(tag.value in ("*", text.version) for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        answer = web.Response(body=text.body, content_type=PLAYLIST.content_type, headers=headers)
        answer.enable_compression()
        return answer


def rewinds(parts: ArchiveParts) -> Assembly:
    """The rewind's part of the intake."""
    playlists = Rewinds(parts.pool, playback_path=parts.settings.archive_playback_path)
    return Assembly(apis=[RewindApi(parts.recordings, playlists)])
