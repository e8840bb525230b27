"""Puts the library together: what owners do with their recordings, and what follows from it."""

from __future__ import annotations

from archive.library.access import Access, PlaybackChecks
from archive.library.access_api import AccessApi
from archive.library.captions import CaptionStore
from archive.library.captions_api import CaptionsApi
from archive.library.owners_api import LibraryApi
from archive.library.purge import Purger
from archive.parts import ArchiveParts
from runtime.assembly import Assembly


def library(parts: ArchiveParts) -> Assembly:
    """The library's part of the intake."""
    settings = parts.settings
    path = settings.archive_playback_path
    access = Access(parts.pool)
    return Assembly(
        apis=[
            LibraryApi(parts.recordings, parts.outbox, playback_path=path, undo_seconds=settings.archive_undo_seconds),
            AccessApi(
                parts.recordings,
                access,
                playback_path=path,
                access_seconds_max=settings.archive_access_seconds_max,
            ),
            PlaybackChecks(access),
            CaptionsApi(
                parts.recordings,
                CaptionStore(parts.pool, parts.outbox, parts.objects, parts.runner, parts.work_directory),
                playback_path=path,
            ),
        ],
        services=[Purger(parts.pool, parts.outbox, parts.objects)],
    )
