"""The single list of topics: what is said where, in whose order, for how long, by whom and to whom.

Topics are created from this list, the AsyncAPI document is generated from it, and a test holds producers and consumers
to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from events.accounts import AccountDeleted, AccountRegistered, AccountRenamed
from events.chat import ChatMessageSent
from events.envelope import Event
from events.fanouts import FanoutPagePlanned
from events.follows import FollowCreated, FollowDeleted
from events.recordings import (
    RecordingCompleted,
    RecordingDeleted,
    RecordingFailed,
    RecordingProgressed,
    RecordingPublished,
    RecordingRestored,
    RecordingVisibilityChanged,
)
from events.streams import StreamEnded, StreamStarted, StreamUpdated


@dataclass(frozen=True, slots=True)
class Topic:
    """A named, partitioned log. ``partitions`` bounds how many workers of one group share it."""

    name: str
    key: str
    """The aggregate whose order holds, in words."""
    partitions: int
    retention: timedelta
    producer: str
    consumers: tuple[str, ...]
    events: tuple[type[Event], ...]


ACCOUNTS = Topic(
    name="accounts.v1",
    key="user id",
    partitions=3,
    retention=timedelta(days=7),
    producer="accounts",
    consumers=("streaming", "notify", "chat", "archive"),
    events=(AccountRegistered, AccountRenamed, AccountDeleted),
)
STREAMS = Topic(
    name="streams.v1",
    key="channel id",
    partitions=6,
    retention=timedelta(days=7),
    producer="streaming",
    consumers=("notify", "archive", "chat"),
    events=(StreamStarted, StreamUpdated, StreamEnded),
)
FANOUT_PAGES = Topic(
    name="fanout-pages.v1",
    key="stream id and page number",
    partitions=12,
    retention=timedelta(days=2),
    producer="notify",
    consumers=("notify",),
    events=(FanoutPagePlanned,),
)
FOLLOWS = Topic(
    name="follows.v1",
    key="channel id",
    partitions=6,
    retention=timedelta(days=7),
    producer="notify",
    consumers=("notify", "chat"),
    events=(FollowCreated, FollowDeleted),
)
RECORDINGS = Topic(
    name="recordings.v1",
    key="stream id",
    partitions=3,
    retention=timedelta(days=7),
    producer="archive",
    consumers=("streaming", "notify", "chat"),
    events=(
        RecordingPublished,
        RecordingProgressed,
        RecordingCompleted,
        RecordingFailed,
        RecordingDeleted,
        RecordingRestored,
        RecordingVisibilityChanged,
    ),
)
CHAT_MESSAGES = Topic(
    name="chat-messages.v1",
    key="channel id",
    partitions=6,
    retention=timedelta(days=1),
    producer="chat",
    consumers=("notify",),
    events=(ChatMessageSent,),
)

DEAD_LETTERS = Topic(
    name="dead-letters.v1",
    key="that of the message set aside",
    partitions=1,
    retention=timedelta(days=30),
    producer="every consumer",
    consumers=("operators, by the dead-letters command",),
    events=(),
)
"""What a consumer gave up on: raw bytes and headers as they came, with where from and why in further headers."""

TOPICS: tuple[Topic, ...] = (ACCOUNTS, STREAMS, FANOUT_PAGES, FOLLOWS, RECORDINGS, CHAT_MESSAGES, DEAD_LETTERS)

EVENT_MODELS: Mapping[str, type[Event]] = MappingProxyType(
    {model.type: model for topic in TOPICS for model in topic.events}
)
"""Every event of the contract by its type name."""

_TOPIC_BY_TYPE: Mapping[str, Topic] = MappingProxyType(
    {model.type: topic for topic in TOPICS for model in topic.events}
)


def topic_of(event: Event | type[Event]) -> Topic:
    """The topic on which an event is said.

    Raises:
        KeyError: the event is on no topic: add it to its topic's ``events``.
    """
    return _TOPIC_BY_TYPE[event.type]
