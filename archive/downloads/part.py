"""Downloads put together: what people ask over the API, and the end of those whose time is over."""

from __future__ import annotations

from archive.downloads.api import DownloadApi
from archive.downloads.requests import DownloadExpiry, DownloadRequests
from archive.parts import ArchiveParts
from runtime.assembly import Assembly


def downloads(parts: ArchiveParts) -> Assembly:
    """See INTAKE_PARTS."""
    settings = parts.settings
    requests = DownloadRequests(parts.pool, keep_seconds=settings.archive_download_keep_seconds)
    api = DownloadApi(
        parts.recordings,
        requests,
        policy=settings.archive_downloads,
        bytes_max=settings.archive_download_bytes_max,
        playback_path=settings.archive_playback_path,
    )
    return Assembly(apis=[api], services=[DownloadExpiry(requests, parts.objects)])
