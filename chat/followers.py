"""Who follows a channel, as follows.v1 tells: for rooms in which only followers write.

Only what this hears counts: a follow from before chat first listened, and beyond the topic's retention, is not known,
and its follower is treated as none. ADR 0087.
"""

from collections.abc import Mapping
from typing import Any

from chat import store
from chat.rooms.signals import Signals, StandingTouched
from eventbus.consume import Handler, Subscription
from eventbus.outbox import Transaction
from events import Envelope, Event, FollowCreated, FollowDeleted
from runtime.postgres import load_queries

QUERIES = load_queries("chat")

GROUP = "chat-followers"


class Followers:
    """The handlers of the consumer group `chat-followers`. Each may run twice, and see its events in any order."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def subscription(self) -> Subscription:
        """What to listen to."""
        handlers: Mapping[type[Event], Handler[Any]] = {
            FollowCreated: self.on_follow_created,
            FollowDeleted: self.on_follow_deleted,
        }
        return Subscription(group=GROUP, handlers=handlers)

    async def on_follow_created(self, transaction: Transaction, envelope: Envelope[FollowCreated]) -> None:
        """Somebody follows a channel."""
        event = envelope.event
        await store.note_person(transaction.connection, event.follower_id, event.follower_name)
        await QUERIES.note_follow(
            transaction.connection,
            channel_id=event.channel_id,
            user_id=event.follower_id,
            followed_at=event.followed_at,
        )
        touched = StandingTouched(user_id=event.follower_id)
        transaction.after_commit(lambda: self._signals.touch(event.channel_id, touched))

    async def on_follow_deleted(self, transaction: Transaction, envelope: Envelope[FollowDeleted]) -> None:
        """Somebody follows a channel no more."""
        event = envelope.event
        await QUERIES.note_unfollow(
            transaction.connection, channel_id=event.channel_id, user_id=event.follower_id, left_at=event.deleted_at
        )
        touched = StandingTouched(user_id=event.follower_id)
        transaction.after_commit(lambda: self._signals.touch(event.channel_id, touched))
