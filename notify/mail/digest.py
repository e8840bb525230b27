"""Digests: one mail a day, at an hour that everybody chooses, with what they have not read."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid5

import structlog

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from notify.mail import metrics, store
from notify.mail.contents import DigestContent
from notify.mail.store import DueDigest, Unread
from runtime.postgres import Connection, Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

DIGESTS = UUID("0d9ae1d3-6c2b-5a4b-9f0e-6f3e3d0c7a11")
"""The queue of all digests, and the namespace of their message ids."""
LOOK_SECONDS = 300.0
PEOPLE_MAX = 200
"""In one transaction."""
NOTICES_MAX = 50
COUNTED_MAX = 1_000
LATE_HOURS_MAX = 3
"""A digest that could not be made at its hour is made up to so much later; then it waits for the next day."""
DAYS_MAX = 7
"""How far back a digest looks when those before could not be made."""
EXPIRES = timedelta(hours=12)


class Digests:
    """A Service; any number of processes may run it at once: who makes whose digest is settled by a row."""

    name = "mail-digests"

    def __init__(self, pool: Pool, *, provider: str) -> None:
        self._pool = pool
        self._provider = provider

    async def run(self) -> None:
        """Look every five minutes until cancelled."""
        while True:
            try:
                await self.make()
            except PERHAPS_AWAY as error:
                if not is_unavailable(error):
                    raise
                log.warning("digests_postponed", reason=str(error) or type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def make(self) -> int:
        """Queue all digests that are due; how many had something to tell."""
        total = 0
        last: DueDigest | None = None
        while True:
            async with self._pool.acquire() as connection, connection.transaction():
                due = await store.list_due_digests(
                    connection, after=last, people_max=PEOPLE_MAX, late_hours_max=LATE_HOURS_MAX
                )
                total += await self._queue(connection, due)
            if len(due) < PEOPLE_MAX:
                break
            last = due[-1]
        if total:
            log.info("digests_made", digests=total)
            metrics.digests_made.inc(total)
        return total

    async def _queue(self, connection: Connection, due: Sequence[DueDigest]) -> int:
        """In the transaction that notes the day: a digest is queued exactly once, or its day is not noted."""
        if not due:
            return 0
        claimed = await store.claim_digests(connection, due, days_max=DAYS_MAX)
        days = {one.user_id: one.digest_day for one in claimed}
        unread = await store.find_unread(connection, claimed, notices_max=NOTICES_MAX, counted_max=COUNTED_MAX)
        await enqueue(connection, [self._delivery(days[one.user_id], one) for one in unread])
        return len(unread)

    def _delivery(self, day: date, unread: Unread) -> NewDelivery:
        return NewDelivery(
            channel=ChannelName.EMAIL,
            lane=Lane.BULK,
            source_id=DIGESTS,
            message_id=uuid5(DIGESTS, f"{unread.user_id}/{day}"),
            user_id=unread.user_id,
            destination_id=unread.destination_id,
            provider=self._provider,
            expires_at=datetime.now(UTC) + EXPIRES,
            content=DigestContent(unread=unread.unread, notice_ids=list(unread.notice_ids)).as_json(),
        )
