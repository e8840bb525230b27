"""Puts the reads part together."""

from runtime.assembly import Assembly
from streaming.parts import StreamingParts
from streaming.reads.signals import LiveListSignals


def assemble_reads(parts: StreamingParts) -> Assembly:
    """What keeps the live list fresh in every process, and watches the replicas."""
    return Assembly(services=[parts.reads, LiveListSignals(parts.redis, parts.live_list)])
