"""What a message is to a group: an event with its handler, something to skip, or something to set aside."""

from dataclasses import dataclass
from typing import Any

from eventbus.bus import Message
from eventbus.dead_letters import REPLAY_GROUP
from eventbus.subscription import Handler, Subscription
from events import Envelope, Event, UndecodableEvent, decode
from events.topics import EVENT_MODELS


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a handler."""

    message: Message
    envelope: Envelope[Event]
    handler: Handler[Any]


@dataclass(frozen=True, slots=True)
class Skip:
    """A known type that the group does not handle, or a replay for another group."""

    message: Message


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message that is given up, and why."""

    message: Message
    error: Exception
    attempts: int


Item = Delivery | Skip | SetAside


class Reader:
    """Reads messages for one subscription."""

    def __init__(self, subscription: Subscription) -> None:
        self._group = subscription.group.encode()
        self._handlers = {event.type.encode(): handler for event, handler in subscription.handlers.items()}
        self._known = {name.encode() for name in EVENT_MODELS}

    def read(self, message: Message) -> Item:
        """What ``message`` is. Never raises."""
        event_type = None
        for name, value in message.headers:
            if name == "ce_type":
                event_type = value
            elif name == REPLAY_GROUP and value != self._group:
                return Skip(message)
        handler = None if event_type is None else self._handlers.get(event_type)
        if handler is None and event_type in self._known:
            return Skip(message)
        try:
            envelope = decode(EVENT_MODELS, message.value, message.headers)
        except UndecodableEvent as error:
            return SetAside(message, error, attempts=1)
        if handler is None:  # decode accepts known types only, so this is a Skip above
            return Skip(message)
        return Delivery(message, envelope, handler)
