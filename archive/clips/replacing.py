"""Lets a trimmed recording take its original's place: once the clip plays, the original is deleted, undo included.

The clip is locked while its original is marked, so at every moment one of the two plays, or its owner deleted both.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from archive.library.deletion import mark_deleted
from archive.outages import SUSPECTS, is_outage
from archive.store import QUERIES
from eventbus.outbox import Outbox
from events import DeleteReason
from runtime.backoff import Backoff

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5


class ClipReplacer:
    """Puts clips in their originals' places. A service; any number of processes may run one."""

    name = "clip-replacer"

    def __init__(self, outbox: Outbox, *, undo_seconds: float) -> None:
        self._outbox = outbox
        self._undo = timedelta(seconds=undo_seconds)

    async def run(self) -> None:
        """Replace until cancelled."""
        backoff = Backoff(first_seconds=0.2, ceiling_seconds=5.0)
        while True:
            try:
                replaced = await self.replace_one()
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("clip_replacer_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if not replaced:
                await asyncio.sleep(POLL_SECONDS)

    async def replace_one(self) -> bool:
        """Let one clip that plays take its place; false when none waits for it."""
        async with self._outbox.transaction() as transaction:
            connection = transaction.connection
            clip = await QUERIES.claim_replacement(connection)
            if clip is None:
                return False
            clip_id, original_id = clip["stream_id"], clip["clip_of"]
            purge_at = datetime.now(UTC) + self._undo
            # False: its owner was quicker. Whatever becomes of it later is not the clip's affair any more.
            if await mark_deleted(transaction, original_id, DeleteReason.REPLACED, purge_at):
                await QUERIES.note_replaced(connection, stream_id=original_id, replaced_by=clip_id)
            await QUERIES.end_replacement(connection, stream_id=clip_id)
        log.info("recording_replaced", stream_id=str(original_id), replaced_by=str(clip_id))
        return True
