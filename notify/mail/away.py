"""Tells people by mail that they are told nothing any more, because they have been away for very long."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from notify.mail.contents import AwayContent
from notify.mail.store import queries
from runtime.postgres import Connection

AWAY_NOTICES = UUID("7c1a5f0e-52f5-5d0b-8d0a-2f0f5a7f6b21")
"""The queue of all away notices, and the namespace of their message ids."""
EXPIRES = timedelta(days=3)


async def enqueue_away_mail(connection: Connection, user_ids: Sequence[UUID]) -> None:
    """Queue, in the transaction that found them away, a notice to those with a verified address who want any mail.

    The message is the same however often it is queued for the same absence.
    """
    rows = await queries.find_mailboxes_of(connection, user_ids=user_ids)
    expires_at = datetime.now(UTC) + EXPIRES
    await enqueue(
        connection,
        [
            NewDelivery(
                channel=ChannelName.EMAIL,
                lane=Lane.BULK,
                source_id=AWAY_NOTICES,
                message_id=uuid5(AWAY_NOTICES, f"{row['user_id']}/{row['away_since']}"),
                user_id=row["user_id"],
                destination_id=row["destination_id"],
                provider=row["provider"],
                expires_at=expires_at,
                content=AwayContent().as_json(),
            )
            for row in rows
        ],
    )
