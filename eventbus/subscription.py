"""What a service says it wants to hear, and the errors its handlers may answer with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eventbus.outbox import Transaction
from events import Envelope, Event, topic_of

E = TypeVar("E", bound=Event)

Handler = Callable[[Transaction, Envelope[E]], Awaitable[None]]
"""Applies one event within the transaction. May run again for the same event if that transaction rolls back."""


class HandlingError(Exception):
    """Base of what a handler raises on purpose.

    HandlingError
    ├── Transient       may work in a moment: tried again with growing waits, then set aside
    └── Unprocessable   will never work: set aside at once
    Any other exception is tried a few times (it may be a race) and then set aside, unless it says that a dependency is
    away: then the partition waits for it.
    """


class Transient(HandlingError):
    """Try again in a moment."""


class Unprocessable(HandlingError):
    """This event can never be handled."""


class HandlerTooSlow(Transient):
    """A handler exceeded its time. Work that takes seconds belongs into a leased row, not into a handler."""


@dataclass(frozen=True)
class Subscription:
    """A consumer group and what it does with each type of event; its topics follow from the types."""

    group: str
    """Constant, kebab-case, beginning with the service's name; it is also the consumer in the inbox."""
    handlers: Mapping[type[Event], Handler[Any]]
    batch_messages_max: int = 200
    """Messages of one partition that share a transaction."""
    attempts_max: int = 5
    """Attempts at a message whose handler raises an unexpected exception."""
    transient_attempts_max: int = 10
    """Attempts at a message whose handler raises Transient: about 20 s with the default waits."""
    handler_seconds_max: float = 10.0
    retry_first_seconds: float = 0.1
    retry_ceiling_seconds: float = 5.0
    topics: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check the bounds and find the topics."""
        if not self.handlers:
            raise ValueError(f"subscription {self.group} has no handlers")
        if min(self.batch_messages_max, self.attempts_max, self.transient_attempts_max) < 1:
            raise ValueError(f"subscription {self.group}: every bound must be at least 1")
        object.__setattr__(self, "topics", tuple(sorted({topic_of(event).name for event in self.handlers})))
