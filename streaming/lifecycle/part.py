"""Puts the reconciler together."""

from runtime.assembly import Assembly
from streaming.lifecycle.reconciler import Reconciler
from streaming.parts import StreamingParts


def assemble_reconciler(parts: StreamingParts) -> Assembly:
    """What asks the media servers whether streams are what they seem."""
    reconciler = Reconciler(
        parts.outbox,
        parts.pool,
        parts.media_servers,
        absence_seconds=parts.settings.streaming_absence_seconds,
        on_change=parts.live_list.forget,
    )
    return Assembly(services=[reconciler])
