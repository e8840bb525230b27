"""What follows when accounts says that people have another name, or are gone: handlers of the group `notify`.

They share the group with `account.registered`, so that facts about one person keep their order.
"""

import structlog

from eventbus.outbox import Transaction
from events import AccountDeleted, AccountRenamed, Envelope
from notify.store import queries
from runtime.erasure import note_erasure

log = structlog.get_logger(__name__)


async def rename_person(transaction: Transaction, envelope: Envelope[AccountRenamed]) -> None:
    """The person has the new name, also in inboxes; tokens of before change nothing."""
    event = envelope.event
    await queries.rename_person(
        transaction.connection, user_id=event.user_id, username=event.username, renamed_at=event.renamed_at
    )


async def forget_person(transaction: Transaction, envelope: Envelope[AccountDeleted]) -> None:
    """From this commit on nobody is told of their streams; the rest is erased afterwards."""
    event = envelope.event
    await note_erasure(transaction.connection, event.user_id, event.deleted_at)
    await queries.cancel_fanouts_of(transaction.connection, user_id=event.user_id)
    log.info("person_to_be_erased", user_id=str(event.user_id))
