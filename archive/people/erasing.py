"""What the archive erases of a person: recordings and clips are deleted without an undo period, and purged.

A recording whose stream still runs is waited for: streaming ends it on the same occasion. So is the shipper, which may
have its last segments in its hands. What a hold keeps stays hidden until the hold is released.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from archive.library.deletion import mark_deleted
from archive.library.purge import Purger
from archive.store import QUERIES
from eventbus.outbox import Outbox
from events import DeleteReason
from runtime.erasure import EraseStep, NotYet
from runtime.objects import StoreUnavailable
from runtime.postgres import Pool

RECORDINGS_PER_BATCH_MAX: Final = 50
ROWS_PER_BATCH_MAX: Final = 1_000
STORE_WAIT_SECONDS: Final = 10.0
HOLD_WAIT_SECONDS: Final = 300.0


class RecordingsErasing:
    """The steps, in the order in which they are done."""

    def __init__(self, pool: Pool, outbox: Outbox, purger: Purger) -> None:
        self._pool = pool
        self._outbox = outbox
        self._purger = purger

    @property
    def steps(self) -> Sequence[EraseStep]:
        """For the worker."""
        return (self.hide, self.purge, self.erase_rest, self.look_for_remains)

    async def hide(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Nobody sees them from here on; said as `recording.deleted`."""
        while True:
            found = await QUERIES.list_recordings_to_delete(
                self._pool, channel_id=channel_id, rows_max=RECORDINGS_PER_BATCH_MAX
            )
            async with self._outbox.transaction() as transaction:
                now = datetime.now(UTC)
                for row in found:
                    await mark_deleted(transaction, row["stream_id"], DeleteReason.ACCOUNT, now)
            yield
            if not found:
                break
        await QUERIES.hurry_purges(self._pool, channel_id=channel_id)

    async def purge(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Rows and jobs first, then every object; the purger does the same at its own pace."""
        while True:
            found = await QUERIES.list_recordings_to_erase(
                self._pool, channel_id=channel_id, rows_max=RECORDINGS_PER_BATCH_MAX
            )
            for row in found:
                await self._purge_one(row["stream_id"])
                yield
            while await QUERIES.forget_channel_of_purged(
                self._pool, channel_id=channel_id, rows_max=ROWS_PER_BATCH_MAX
            ):
                yield
            if not found:
                break

    async def _purge_one(self, stream_id: UUID) -> None:
        try:
            gone = await self._purger.purge(stream_id)
        except StoreUnavailable as error:
            raise NotYet(f"the object store is away: {error}", wait_seconds=STORE_WAIT_SECONDS) from error
        if not gone:
            raise NotYet("objects of a recording are left")

    async def erase_rest(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Terms, requests and the name."""
        await QUERIES.erase_channel(self._pool, channel_id=channel_id)
        yield

    async def look_for_remains(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Not done while a stream runs, a shipper is at work, or a hold is on."""
        row = await QUERIES.find_remains(self._pool, channel_id=channel_id)
        if row["held"]:
            raise NotYet("a hold keeps recordings", wait_seconds=HOLD_WAIT_SECONDS)
        if row["recordings"]:
            raise NotYet("recordings are not settled yet", wait_seconds=1.0)
        yield
