"""Puts the streams part together."""

from runtime.assembly import Assembly
from streaming.parts import StreamingParts
from streaming.streams.api import Streams


def assemble_streams(parts: StreamingParts) -> Assembly:
    """Streams as people see and change them."""
    return Assembly(apis=[Streams(parts.reads, parts.publishing, parts.live_list)])
