"""The facts that LiveStream's services tell each other: models, envelope, topics.

An event is something that has happened, in the past tense. It carries enough that no consumer has to call back.
Building an event with an unknown field is an error; reading one ignores what it does not know, so that a producer may
add fields before its consumers are updated. A changed meaning is a new topic (``.v2``) beside the old one, never an
edit.
"""

from events.accounts import AccountDeleted, AccountRegistered, AccountRenamed
from events.chat import ChatMessageSent, SaidAs
from events.envelope import Envelope, Event, UndecodableEvent, UnknownEventType, decode, encode
from events.fanouts import FanoutPagePlanned
from events.follows import FollowCreated, FollowDeleted
from events.recordings import (
    DeleteReason,
    RecordingCompleted,
    RecordingDeleted,
    RecordingFailed,
    RecordingProgressed,
    RecordingPublished,
    RecordingRestored,
    RecordingVisibilityChanged,
    TimelineAnchor,
)
from events.streams import EndReason, StreamEnded, StreamStarted, StreamUpdated
from events.topics import DEAD_LETTERS, TOPICS, Topic, topic_of
from events.visibility import Visibility

__all__ = [
    "DEAD_LETTERS",
    "TOPICS",
    "AccountDeleted",
    "AccountRegistered",
    "AccountRenamed",
    "ChatMessageSent",
    "DeleteReason",
    "EndReason",
    "Envelope",
    "Event",
    "FanoutPagePlanned",
    "FollowCreated",
    "FollowDeleted",
    "RecordingCompleted",
    "RecordingDeleted",
    "RecordingFailed",
    "RecordingProgressed",
    "RecordingPublished",
    "RecordingRestored",
    "RecordingVisibilityChanged",
    "SaidAs",
    "StreamEnded",
    "StreamStarted",
    "StreamUpdated",
    "TimelineAnchor",
    "Topic",
    "UndecodableEvent",
    "UnknownEventType",
    "Visibility",
    "decode",
    "encode",
    "topic_of",
]
