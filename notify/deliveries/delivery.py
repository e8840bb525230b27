"""A delivery, what may become of an attempt at it, and what a delivery channel is to the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID


class ChannelName(StrEnum):
    """How something leaves the house."""

    WEBPUSH = "webpush"
    EMAIL = "email"
    WEBHOOK = "webhook"


class Lane(StrEnum):
    """What waits for what."""

    TRANSACTIONAL = "transactional"
    """Somebody waits for it, such as for the mail that verifies an address: never behind a fan-out."""
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to be sent to one destination, in the hands of the worker that has leased it."""

    delivery_id: int
    source_id: UUID
    """The fan-out, webhook endpoint or person whose queue it was in."""
    message_id: UUID
    """The same in every attempt: the notice's id, or the event's."""
    user_id: UUID
    destination_id: UUID
    provider: str
    attempts: int
    """Failed ones before this."""
    created_at: datetime
    expires_at: datetime
    content: Mapping[str, Any] | None
    """What to send, where that does not follow from the message id."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The destination does not exist any more (push: 404, 410): it is removed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This message will never be taken; the destination stays."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Nobody wants it any more: the fan-out was cancelled, the stream is over, the person has left. No failure."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It may work later; counts as an attempt. `retry_after` is what the receiver asked for."""

    reason: str
    retry_after: timedelta | None = None
    blames_provider: bool = True
    """Whether others at this provider would have failed, too (no connection, 5xx): after some of these in a row it is
    left alone for a while. False for what is wrong with this one destination (4xx): nobody else waits for that."""


@dataclass(frozen=True, slots=True)
class ProviderBusy:
    """The provider asks to be left alone (429, 421): pauses it for everybody and spends no attempt."""

    reason: str
    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Expired:
    """It was not sent in time. The engine finds that out by `expires_at`; a channel may know it, too."""

    reason: str = "too late"


Outcome = Delivered | Gone | Refused | Dropped | Expired | Failed | ProviderBusy


class Sending(Protocol):
    """A delivery with all that is needed to send it."""

    async def send(self) -> Outcome:
        """Try once. Bounded in time by the engine as well; an exception counts as `Failed`."""
        ...


@dataclass(frozen=True)
class RetrySchedule:
    """The waits after each failed attempt; after the last, the delivery is dead. Jitter is added by the engine."""

    waits: Sequence[timedelta]


class Channel(Protocol):
    """A way to send. One object per process; the engine calls it for whole batches."""

    @property
    def name(self) -> ChannelName:
        """Which it is."""
        ...

    @property
    def schedule(self) -> RetrySchedule:
        """How failed attempts are repeated."""
        ...

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """By delivery id: what to send, or at once what became of it. Reads for the whole batch in a few queries."""
        ...

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Forget the destinations of these deliveries: they do not exist any more."""
        ...

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Hear what became of a batch, before it is forgotten; the flag says whether that was the last attempt."""
        ...
