"""What every event is and how it is written to bytes: CloudEvents 1.0 attributes in headers, JSON data in the value.

The header names follow the Kafka protocol binding of CloudEvents 1.0, binary content mode (``ce_`` prefix,
section 3.2.3); ``traceparent`` is the W3C Trace Context header of the request or event that caused this one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

SPEC_VERSION = "1.0"
CONTENT_TYPE = b"application/json"

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)

Headers = tuple[tuple[str, bytes], ...]


class Event(BaseModel, ABC):
    """A fact in the past tense. Subclasses name their ``type`` and the ``key`` whose order matters."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="iso8601")

    type: ClassVar[str]

    @property
    @abstractmethod
    def key(self) -> str:
        """The aggregate whose events stay in order: they share a partition."""

    @property
    def subject(self) -> str:
        """The CloudEvents subject: what, within its source, the event is about. The key unless a model says more."""
        return self.key


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Envelope(Generic[E_co]):
    """An event with the facts about its saying. ``id`` is what consumers deduplicate by."""

    id: UUID
    source: str
    """The service that said it, as a bare name such as ``streaming``; ``/livestream/streaming`` on the wire."""
    time: datetime
    event: E_co
    traceparent: str | None = None


class UndecodableEvent(ValueError):
    """The bytes are not an event of this contract. No retry will change that.

    Attributes:
        reason: what is wrong, without the payload (it may hold personal facts).
        type: the event's type, where the headers still told it.
    """

    def __init__(self, reason: str, *, type: str | None = None) -> None:  # noqa: A002 -- CloudEvents' own name
        super().__init__(reason)
        self.reason = reason
        self.type = type


class UnknownEventType(UndecodableEvent):
    """The headers name a type that this contract does not have: a newer producer, or a stray message."""


def encode(envelope: Envelope[Event]) -> tuple[bytes, bytes, Headers]:
    """Write an event as ``(key, value, headers)``."""
    event = envelope.event
    headers: list[tuple[str, bytes]] = [
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_id", str(envelope.id).encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", f"/livestream/{envelope.source}".encode()),
        ("ce_time", envelope.time.isoformat().encode()),
        ("ce_subject", event.subject.encode()),
        ("content-type", CONTENT_TYPE),
    ]
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return event.key.encode(), event.model_dump_json().encode(), tuple(headers)


def decode(
    models: Mapping[str, type[Event]], value: bytes | None, headers: Iterable[tuple[str, bytes]]
) -> Envelope[Event]:
    """Read an event whose type is one of ``models`` (by type name); fields it does not know are ignored.

    Raises:
        UnknownEventType: the type is none of ``models``.
        UndecodableEvent: a header is missing or malformed, or the value does not fit the model.
    """
    attributes = _attributes(headers)
    name = attributes["ce_type"]
    model = models.get(name)
    if model is None:
        raise UnknownEventType(f"unknown event type {name[:100]!r}", type=name[:100])
    if value is None:
        raise UndecodableEvent("the message has no value", type=name)
    try:
        event = model.model_validate_json(value, extra="ignore")
        time = _TIME.validate_python(attributes["ce_time"])
        event_id = UUID(attributes["ce_id"])
    except ValidationError as error:
        raise UndecodableEvent(_where(error), type=name) from error
    except ValueError as error:
        raise UndecodableEvent("ce_id is not a UUID", type=name) from error
    return Envelope(
        id=event_id,
        source=attributes["ce_source"].removeprefix("/livestream/"),
        time=time,
        event=event,
        traceparent=attributes.get("traceparent"),
    )


def _attributes(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    try:
        attributes = {
            name: value.decode() for name, value in headers if name.startswith("ce_") or name == "traceparent"
        }
    except (UnicodeDecodeError, AttributeError) as error:
        raise UndecodableEvent("a header is not UTF-8 text") from error
    for name in ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"):
        if name not in attributes:
            raise UndecodableEvent(f"header {name} is missing", type=attributes.get("ce_type"))
    if attributes["ce_specversion"] != SPEC_VERSION:
        raise UndecodableEvent(f"ce_specversion is not {SPEC_VERSION}", type=attributes["ce_type"])
    return attributes


def _where(error: ValidationError) -> str:
    """Name the fields that do not fit, not their values."""
    problems = (f"{'.'.join(map(str, item['loc'])) or 'data'}: {item['type']}" for item in error.errors()[:5])
    return "; ".join(problems)
