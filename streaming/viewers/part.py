"""Puts the viewers part together."""

from runtime.assembly import Assembly
from runtime.client_address import ClientAddresses
from streaming.parts import StreamingParts
from streaming.settings import StreamingSettings
from streaming.streams.playback import PlaybackSigner
from streaming.viewers.api import Viewers
from streaming.viewers.keeping import StatsKeeper
from streaming.viewers.open_streams import OpenStreams
from streaming.viewers.watching import ViewerCookies


def assemble_viewers(parts: StreamingParts) -> Assembly:
    """Heartbeats, statistics, and what keeps them."""
    settings, secret = parts.settings, parts.settings.streaming_playback_secret
    api = Viewers(
        parts.reads,
        OpenStreams(parts.pool),
        parts.viewer_counts,
        parts.audience,
        viewer_cookies(settings),
        ClientAddresses(settings.http_trusted_proxies),
        None if secret is None else PlaybackSigner(secret),
    )
    return Assembly(apis=[api], services=[StatsKeeper(parts.pool, parts.viewer_counts)])


def viewer_cookies(settings: StreamingSettings) -> ViewerCookies:
    """Signed with the secret of viewers, or, on a server of before there was one, with the ingest secret."""
    first = settings.streaming_viewer_secret or settings.streaming_ingest_secret
    second = settings.streaming_viewer_secret_second
    return ViewerCookies(*(one.get_secret_value().encode() for one in (first, second) if one is not None))
