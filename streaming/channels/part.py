"""Puts the channels part together."""

from runtime.assembly import Assembly
from streaming.channels.api import Channels
from streaming.channels.bans import Bans
from streaming.parts import StreamingParts


def assemble_channels(parts: StreamingParts) -> Assembly:
    """Channels, their keys and their bans."""
    channels = Channels(
        parts.pool, parts.reads, Bans(parts.pool), public_ingest_url=parts.settings.streaming_public_ingest_url
    )
    return Assembly(apis=[channels])
