"""Looks at streams while they run, so that nobody waits for it at the end: beside encoders a process starts slowly."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from uuid import UUID

import structlog

from archive.errors import MediaRefused
from archive.media.probe import MediaFacts
from archive.outages import SUSPECTS, is_outage
from archive.publishing.source_probe import SourceProbe
from archive.store import Recordings

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
LOOKS_AT_ONCE_MAX = 20
KEPT_MAX = 2_000


class LookAhead:
    """What the sources of running streams are, as far as that has been seen. Nothing is lost when it is forgotten."""

    def __init__(self, recordings: Recordings, source: SourceProbe) -> None:
        self._recordings = recordings
        self._source = source
        self._facts: OrderedDict[UUID, MediaFacts] = OrderedDict()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                for stream_id in await self._recordings.running(besides=list(self._facts), rows_max=LOOKS_AT_ONCE_MAX):
                    await self._look(stream_id)
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("look_ahead_waits", reason=str(error) or type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)

    def take(self, stream_id: UUID) -> MediaFacts | None:
        """What is known of a stream that is over; it is forgotten here."""
        return self._facts.pop(stream_id, None)

    async def _look(self, stream_id: UUID) -> None:
        try:
            facts = await self._source.look(stream_id, await self._recordings.segments(stream_id))
        except MediaRefused:
            return
        # Sound alone may be what comes before the first key frame: the end looks again.
        if facts.has_video:
            self._facts[stream_id] = facts
        while len(self._facts) > KEPT_MAX:
            self._facts.popitem(last=False)
