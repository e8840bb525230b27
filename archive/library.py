"""Puts the library together: what owners do with their recordings, and what follows from it."""

from __future__ import annotations

from archive.library_api import LibraryApi
from archive.parts import ArchiveParts
from runtime.assembly import Assembly


def library(parts: ArchiveParts) -> Assembly:
    """The library's part of the intake."""
    settings = parts.settings
    path = settings.archive_playback_path
    return Assembly(
        apis=[
            LibraryApi(parts.recordings, parts.outbox, playback_path=path, undo_seconds=settings.archive_undo_seconds),
        ],
    )
