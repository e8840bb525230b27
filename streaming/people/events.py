"""Hears from accounts that people have another name, or are gone: the consumer group `streaming-people`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from eventbus.consume import Handler, Subscription
from eventbus.outbox import Transaction
from events import AccountDeleted, AccountRenamed, Envelope, Event
from runtime.erasure import note_erasure
from streaming import store

log = structlog.get_logger(__name__)

GROUP: Final = "streaming-people"


class PeopleEvents:
    """The handlers. Each may run twice and see its event late."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def subscription(self) -> Subscription:
        """What to listen to."""
        handlers: Mapping[type[Event], Handler[Any]] = {
            AccountRenamed: self.on_renamed,
            AccountDeleted: self.on_deleted,
        }
        return Subscription(group=GROUP, handlers=handlers)

    async def on_renamed(self, transaction: Transaction, envelope: Envelope[AccountRenamed]) -> None:
        """The channel has the new name; so has one that is made with a token of before."""
        event = envelope.event
        await store.queries.note_rename(
            transaction.connection, user_id=event.user_id, username=event.username, renamed_at=event.renamed_at
        )
        transaction.after_commit(self._on_change)

    async def on_deleted(self, transaction: Transaction, envelope: Envelope[AccountDeleted]) -> None:
        """Nobody begins a stream with the person's key from this commit on; the rest is erased afterwards."""
        event = envelope.event
        await note_erasure(transaction.connection, event.user_id, event.deleted_at)
        await store.queries.drop_stream_key(transaction.connection, channel_id=event.user_id)
        log.info("channel_to_be_erased", channel_id=str(event.user_id))
