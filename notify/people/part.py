"""Puts together what erases deleted people."""

from notify.parts import NotifyParts
from notify.people.erasing import PersonErasing
from runtime.assembly import Assembly
from runtime.erasure import Erasures


def assemble_erasures(parts: NotifyParts) -> Assembly:
    """The worker; what it is to do comes with the events of the group `notify`."""
    erasing = PersonErasing(parts.pool, parts.announcer)
    return Assembly(services=[Erasures(parts.pool, erasing.steps, service="notify")])
