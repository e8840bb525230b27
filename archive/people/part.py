"""Puts together what erases deleted people; what it is to do comes with the group `archive-people`."""

from __future__ import annotations

from archive.library.purge import Purger
from archive.parts import ArchiveParts
from archive.people.erasing import RecordingsErasing
from runtime.assembly import Assembly
from runtime.erasure import Erasures


def erasures(parts: ArchiveParts) -> Assembly:
    """The intake's worker."""
    purger = Purger(parts.pool, parts.outbox, parts.objects)
    erasing = RecordingsErasing(parts.pool, parts.outbox, purger)
    return Assembly(services=[Erasures(parts.pool, erasing.steps, service="archive")])
