"""Puts retention of streams together."""

from runtime.assembly import Assembly
from streaming.parts import StreamingParts
from streaming.retention.retention import StreamRetention, terms_of


def assemble_retention(parts: StreamingParts) -> Assembly:
    """Old streams move and go by themselves, unless that is switched off."""
    if not parts.settings.streaming_retention:
        return Assembly()
    return Assembly(services=[StreamRetention(parts.pool, terms_of(parts.settings))])
