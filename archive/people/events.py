"""Hears from accounts that people have another name, or are gone: the consumer group `archive-people`."""

from __future__ import annotations

from typing import Final

import structlog

from archive.store import QUERIES
from eventbus.outbox import Transaction
from eventbus.subscription import Subscription
from events import AccountDeleted, AccountRenamed, Envelope
from runtime.erasure import note_erasure

log = structlog.get_logger(__name__)

GROUP: Final = "archive-people"


async def on_account_renamed(transaction: Transaction, envelope: Envelope[AccountRenamed]) -> None:
    """The person's recordings are shown under the new name."""
    event = envelope.event
    await QUERIES.note_rename(
        transaction.connection, user_id=event.user_id, username=event.username, renamed_at=event.renamed_at
    )


async def on_account_deleted(transaction: Transaction, envelope: Envelope[AccountDeleted]) -> None:
    """Have the person's recordings purged."""
    event = envelope.event
    await note_erasure(transaction.connection, event.user_id, event.deleted_at)
    log.info("recordings_to_be_erased", channel_id=str(event.user_id))


SUBSCRIPTION = Subscription(
    group=GROUP,
    handlers={AccountRenamed: on_account_renamed, AccountDeleted: on_account_deleted},
)
