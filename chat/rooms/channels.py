"""Keeps the rooms as accounts and streams tell of them, and tells the people in a room when its stream changes."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chat import store
from chat.people.events import PeopleEvents
from chat.rooms.signals import RoomTouched, Signals
from eventbus.consume import Handler, Subscription
from eventbus.outbox import Transaction
from events import (
    AccountDeleted,
    AccountRegistered,
    AccountRenamed,
    Envelope,
    Event,
    StreamEnded,
    StreamStarted,
    StreamUpdated,
    Visibility,
)

GROUP = "chat"


class Channels:
    """The handlers of the consumer group `chat`. Each may run twice and see its events late or out of order."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def subscription(self) -> Subscription:
        """What to listen to."""
        people = PeopleEvents(self._signals)
        handlers: Mapping[type[Event], Handler[Any]] = {
            AccountRegistered: self.on_account_registered,
            AccountRenamed: people.on_renamed,
            AccountDeleted: people.on_deleted,
            StreamStarted: self.on_stream_started,
            StreamUpdated: self.on_stream_updated,
            StreamEnded: self.on_stream_ended,
        }
        return Subscription(group=GROUP, handlers=handlers)

    async def on_account_registered(self, transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        """A person has an account, and so a channel."""
        event = envelope.event
        await store.note_person(transaction.connection, event.user_id, event.username, event.registered_at)
        await store.open_room(transaction.connection, envelope.event.user_id, envelope.event.username)

    async def on_stream_started(self, transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """A channel is live. Of a stream that is not public its room says nothing."""
        event = envelope.event
        if event.visibility is not Visibility.PUBLIC:
            await store.open_room(transaction.connection, event.channel_id, event.channel_name)
            return
        changed = await store.start_stream(
            transaction.connection, event.channel_id, event.channel_name, event.stream_id, event.started_at
        )
        self._tell(transaction, event.channel_id, changed)

    async def on_stream_updated(self, transaction: Transaction, envelope: Envelope[StreamUpdated]) -> None:
        """Other people may watch a channel's stream than before."""
        event = envelope.event
        if event.visibility_before is None:
            return
        change = store.show_stream if event.visibility is Visibility.PUBLIC else store.hide_stream
        changed = await change(transaction.connection, event.channel_id, event.stream_id, event.updated_at)
        self._tell(transaction, event.channel_id, changed)

    async def on_stream_ended(self, transaction: Transaction, envelope: Envelope[StreamEnded]) -> None:
        """A channel is live no more."""
        event = envelope.event
        changed = await store.end_stream(
            transaction.connection, event.channel_id, event.stream_id, event.started_at, event.ended_at
        )
        self._tell(transaction, event.channel_id, changed)

    def _tell(self, transaction: Transaction, channel_id: UUID, changed: bool) -> None:
        """Have gateways look once it is committed."""
        if changed:
            transaction.after_commit(lambda: self._signals.touch(channel_id, RoomTouched()))
