"""What follows when accounts says that people have another name, or are gone: handlers of the group `chat`.

They share the group with `account.registered`, so that facts about one person keep their order.
"""

import structlog

from chat.rooms.signals import RoomTouched, Signals
from eventbus.outbox import Transaction
from events import AccountDeleted, AccountRenamed, Envelope
from runtime.erasure import note_erasure
from runtime.postgres import load_queries

log = structlog.get_logger(__name__)

QUERIES = load_queries("chat")


class PeopleEvents:
    """The handlers. Each may run twice and see its event late."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    async def on_renamed(self, transaction: Transaction, envelope: Envelope[AccountRenamed]) -> None:
        """The person and their room have the new name; what was said keeps the name under which it was."""
        event = envelope.event
        await QUERIES.rename_person(
            transaction.connection, user_id=event.user_id, username=event.username, renamed_at=event.renamed_at
        )
        transaction.after_commit(lambda: self._signals.touch(event.user_id, RoomTouched()))

    async def on_deleted(self, transaction: Transaction, envelope: Envelope[AccountDeleted]) -> None:
        """From this commit on nobody finds the room, and the person says nothing more; the rest is erased later."""
        event = envelope.event
        await note_erasure(transaction.connection, event.user_id, event.deleted_at)
        await QUERIES.close_room(transaction.connection, channel_id=event.user_id)
        log.info("person_to_be_erased", user_id=str(event.user_id))
        transaction.after_commit(lambda: self._signals.touch(event.user_id, RoomTouched()))
