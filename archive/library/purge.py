"""Removes deleted recordings once their undo period is over: rows first, then every object below the folder.

The first step marks the recording as purged and drops its rows in one commit: from then on nothing names its objects,
it cannot be restored, whoever works on a job of it has lost the lease (and removes what it made), and no shipper
follows its directory. The removal that follows may die at any point: `removing_since` stays set, and the next round
lists what is left. A hold keeps a recording from the first step; `preserve` does not, for it speaks to retention, and
what is deleted was deleted by its owner or has been let go by retention.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from uuid import UUID

import structlog

from archive.outages import SUSPECTS, is_outage
from archive.retention.store import is_held
from archive.store import QUERIES
from eventbus.outbox import Outbox
from runtime.backoff import Backoff
from runtime.objects import ObjectStore
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

POLL_SECONDS = 30.0
RECORDINGS_MAX = 20
DELETES_AT_ONCE = 8
# What is put while we list is found by listing again; the next round goes on where these end.
PASSES_MAX = 3
GRANTS_MAX = 5_000


class Purger:
    """Purges what is due. A service; any number of processes may run one."""

    name = "purger"

    def __init__(self, pool: Pool, outbox: Outbox, objects: ObjectStore) -> None:
        self._pool = pool
        self._outbox = outbox
        self._objects = objects

    async def run(self) -> None:
        """Purge until cancelled."""
        backoff = Backoff(first_seconds=1.0, ceiling_seconds=60.0)
        while True:
            try:
                purged = await self.round()
                await QUERIES.sweep_grants(self._pool, rows_max=GRANTS_MAX)
                backoff.reset()
            except SUSPECTS as error:
                if not is_outage(error):
                    raise
                log.warning("purger_waits", reason=str(error) or type(error).__name__)
                await backoff.wait()
                continue
            if purged < RECORDINGS_MAX:
                await asyncio.sleep(POLL_SECONDS)

    async def round(self) -> int:
        """Purge what is due now, up to RECORDINGS_MAX; how many are done. Raises what an outage raises."""
        due = await QUERIES.list_purges(self._pool, rows_max=RECORDINGS_MAX)
        done = 0
        for row in due:
            if row["begun"] or await self._begin(row["stream_id"]):
                done += await self._remove(row["stream_id"])
        return done

    async def purge(self, stream_id: UUID) -> bool:
        """Purge one recording that is due, now; whether nothing of it is left. Raises what an outage raises."""
        await self._begin(stream_id)
        is_begun = await QUERIES.is_removing(self._pool, stream_id=stream_id)
        return is_begun is True and await self._remove(stream_id)

    async def _begin(self, stream_id: UUID) -> bool:
        """Drop the recording's rows; False: it was restored meanwhile, a hold is on, or another process was first."""
        async with self._outbox.transaction() as transaction:
            if await is_held(transaction.connection, stream_id):
                return False
            if await QUERIES.begin_purge(transaction.connection, stream_id=stream_id) is None:
                return False
            await QUERIES.drop_rows(transaction.connection, stream_id=stream_id)
        log.info("purge_begun", stream_id=str(stream_id))
        return True

    async def _remove(self, stream_id: UUID) -> bool:
        """Remove every object of the recording; whether none is left."""
        removed = 0
        for _ in range(PASSES_MAX):
            keys = [stored.key async for stored in self._objects.list(f"{stream_id}/")]
            if not keys:
                await QUERIES.end_purge(self._pool, stream_id=stream_id)
                log.info("recording_purged", stream_id=str(stream_id), objects=removed)
                return True
            left = iter(keys)
            while batch := list(islice(left, DELETES_AT_ONCE)):
                results = await asyncio.gather(*(self._objects.delete(key) for key in batch), return_exceptions=True)
                for failure in filter(None, results):
                    raise failure
                removed += len(batch)
        log.warning("purge_unfinished", stream_id=str(stream_id), objects=removed)
        return False
