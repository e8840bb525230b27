"""Puts the channels part together."""

from runtime.assembly import Assembly
from streaming.channels.api import Channels
from streaming.parts import StreamingParts


def assemble_channels(parts: StreamingParts) -> Assembly:
    """Channels and their keys."""
    return Assembly(
        apis=[Channels(parts.pool, parts.reads, public_ingest_url=parts.settings.streaming_public_ingest_url)]
    )
