"""Puts the intake's part of clips together."""

from __future__ import annotations

from archive.clips.api import ClipsApi
from archive.clips.replacing import ClipReplacer
from archive.parts import ArchiveParts
from runtime.assembly import Assembly


def clips(parts: ArchiveParts) -> Assembly:
    """What takes requests for clips, and lets them take their originals' places."""
    settings = parts.settings
    api = ClipsApi(parts.pool, parts.recordings, parts.outbox, settings, playback_path=settings.archive_playback_path)
    return Assembly(apis=[api], services=[ClipReplacer(parts.outbox, undo_seconds=settings.archive_undo_seconds)])
