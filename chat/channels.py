"""Keeps the rooms as accounts and streams tell of them, and tells the people in a room when its stream changes."""

from collections.abc import Mapping
from typing import Any

import structlog

from chat import frames, store
from chat.broker import Broker
from chat.errors import BrokerUnavailable
from eventbus.consume import Handler, Subscription
from eventbus.outbox import Transaction
from events import AccountRegistered, Envelope, Event, StreamEnded, StreamStarted

log = structlog.get_logger(__name__)

GROUP = "chat"


class Channels:
    """The handlers of the consumer group `chat`. Each may run twice and see its events late or out of order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def subscription(self) -> Subscription:
        """What to listen to."""
        handlers: Mapping[type[Event], Handler[Any]] = {
            AccountRegistered: self.on_account_registered,
            StreamStarted: self.on_stream_started,
            StreamEnded: self.on_stream_ended,
        }
        return Subscription(group=GROUP, handlers=handlers)

    async def on_account_registered(self, transaction: Transaction, envelope: Envelope[AccountRegistered]) -> None:
        """A channel exists."""
        await store.open_room(transaction.connection, envelope.event.user_id, envelope.event.username)

    async def on_stream_started(self, transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """A channel is live."""
        event = envelope.event
        changed = await store.start_stream(
            transaction.connection, event.channel_id, event.channel_name, event.stream_id, event.started_at
        )
        await self._tell(changed)

    async def on_stream_ended(self, transaction: Transaction, envelope: Envelope[StreamEnded]) -> None:
        """A channel is live no more."""
        event = envelope.event
        changed = await store.end_stream(
            transaction.connection, event.channel_id, event.stream_id, event.started_at, event.ended_at
        )
        await self._tell(changed)

    async def _tell(self, changed: store.KnownRoom | None) -> None:
        """Signal before the commit: the signal carries the fact itself, and a redone transaction just says it again.

        With the broker away the table must not wait for it: rooms look themselves up when they hear the broker again.
        """
        if changed is None:
            return
        try:
            await self._broker.signal(
                changed.channel_id,
                frames.RoomChanged(live_stream_id=changed.live_stream_id).model_dump_json().encode(),
            )
        except BrokerUnavailable as error:
            log.warning("chat_room_change_not_signalled", room=str(changed.channel_id), reason=str(error))
