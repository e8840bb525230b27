"""Puts the viewers part together."""

from runtime.assembly import Assembly
from runtime.client_address import ClientAddresses
from streaming.parts import StreamingParts
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
        ViewerCookies(settings.streaming_ingest_secret.get_secret_value().encode()),
        ClientAddresses(settings.http_trusted_proxies),
        None if secret is None else PlaybackSigner(secret),
    )
    return Assembly(apis=[api], services=[StatsKeeper(parts.pool, parts.viewer_counts)])
