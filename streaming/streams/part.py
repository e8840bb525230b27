"""Puts the streams part together."""

from runtime.assembly import Assembly
from streaming.channels.bans import Bans
from streaming.parts import StreamingParts
from streaming.servers.registry import playback_addresses
from streaming.streams.api import Streams
from streaming.streams.changing import Changing
from streaming.streams.finding import Finding
from streaming.streams.playback import PlaybackSigner
from streaming.streams.playback_api import Playback, PlaybackChecks
from streaming.streams.preparing import Preparing


def assemble_streams(parts: StreamingParts) -> Assembly:
    """Streams as people see and change them, and who may play them."""
    settings, secret = parts.settings, parts.settings.streaming_playback_secret
    finding = Finding(parts.reads, playback_addresses(settings))
    streams = Streams(
        parts.reads,
        finding,
        Preparing(parts.pool),
        Changing(parts.outbox, on_change=parts.live_list.forget),
        parts.publishing,
        Bans(parts.pool),
        parts.live_list,
        parts.audience,
    )
    playback = Playback(
        finding,
        None if secret is None else PlaybackSigner(secret),
        seconds_max=settings.streaming_playback_seconds,
    )
    # The edge's question is answered by the primary: a replica may not have heard yet that a stream is private now.
    return Assembly(apis=[streams, playback, PlaybackChecks(parts.pool)])
