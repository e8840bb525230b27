"""Puts together what follows from what accounts says of people."""

from eventbus.consume import ConsumeLoop
from runtime.assembly import Assembly
from runtime.erasure import Erasures
from streaming.parts import StreamingParts
from streaming.people.erasing import ChannelErasing
from streaming.people.events import PeopleEvents


def assemble_people(parts: StreamingParts) -> Assembly:
    """Names are corrected, and deleted people erased."""
    heard = PeopleEvents(parts.live_list.forget).subscription()
    erasing = ChannelErasing(parts.pool, parts.publishing)
    return Assembly(
        services=[
            ConsumeLoop(parts.bus, parts.outbox, heard, health=parts.health),
            Erasures(parts.pool, erasing.steps, service="streaming"),
        ]
    )
