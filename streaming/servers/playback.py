"""Where a live stream plays: at the edge, or, where a media server serves its viewers itself, there."""

from collections.abc import Mapping
from uuid import UUID


class PlaybackAddresses:
    """The addresses of live playlists, by the media server that the stream is sent to."""

    def __init__(self, templates: Mapping[str, str] | None = None) -> None:
        self._templates = dict(templates or {})

    def of(self, server: str | None, *, stream_id: UUID, channel_id: UUID) -> str:
        """The address of a stream's playlist.

        A path at the edge, where nginx-rtmp or the shipper lays the files, unless the server has one of its own.
        """
        template = self._templates.get(server or "")
        if template is None:
            return f"/live/{stream_id}/index.m3u8"
        return template.replace("{channel_id}", str(channel_id)).replace("{stream_id}", str(stream_id))
