"""The outbox: an event is said in the transaction that made it true, and published from there afterwards.

Concurrency: any number of transactions append at once. Invariant: an event is in the outbox exactly if its transaction
committed. The relay of the process is woken by an in-process event after the commit; the relay of another process finds
the event by polling. There is no NOTIFY in the transaction: it serialises commits.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from eventbus.bus import Headers
from events import Envelope, Event, encode, topic_of
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries
from runtime.trace import current_trace

QUERIES = load_queries("eventbus")

EVENT_BYTES_MAX = 262_144
"""An event carries facts, not files; beyond this the broker could refuse it when its transaction is long committed."""

ACQUIRE_TIMEOUT_SECONDS = 10.0


class EventTooLarge(ValueError):
    """An event that is larger than ``EVENT_BYTES_MAX``; nothing was appended."""

    def __init__(self, event_type: str, size_bytes: int) -> None:
        super().__init__(f"event {event_type} has {size_bytes} bytes, at most {EVENT_BYTES_MAX} are allowed")
        self.event_type = event_type
        self.size_bytes = size_bytes


class Transaction:
    """A transaction in which events can be said. ``connection`` is where the effects go."""

    def __init__(self, connection: Connection, source: str) -> None:
        self.connection = connection
        self._source = source
        self._committed: list[Callable[[], None]] = []
        self.said_events = 0

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have something done at once when this transaction has committed; not if it rolls back. It must not fail."""
        self._committed.append(call)

    def committed(self) -> None:
        """Do what was to be done after the commit; for whoever commits."""
        for call in self._committed:
            call()

    async def say(self, *events: Event) -> None:
        """Append events to the outbox: published if this transaction commits, in the order in which they were said.

        Raises EventTooLarge.
        """
        if not events:
            return
        trace = current_trace()
        traceparent = None if trace is None else trace.traceparent
        envelopes = [
            Envelope(id=uuid7(), source=self._source, time=datetime.now(UTC), event=event, traceparent=traceparent)
            for event in events
        ]
        encoded = [encode(envelope) for envelope in envelopes]
        for event, (_, value, _) in zip(events, encoded, strict=True):
            if len(value) > EVENT_BYTES_MAX:
                raise EventTooLarge(event.type, len(value))
        await QUERIES.append_events(
            self.connection,
            event_ids=[envelope.id for envelope in envelopes],
            topics=[topic_of(event).name for event in events],
            keys=[key for key, _, _ in encoded],
            types=[event.type for event in events],
            headers=[headers_to_json(headers) for _, _, headers in encoded],
            data=[value for _, value, _ in encoded],
        )
        self.said_events += len(events)


class Outbox:
    """Opens transactions on a service's schema and wakes the relay after those that said something."""

    def __init__(self, pool: Pool, *, source: str) -> None:
        self._pool = pool
        self._source = source
        self.said = asyncio.Event()
        """Set after a commit with events; whoever relays clears it."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction that commits on leaving, or rolls back on an exception; events go out only if it commits."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
            async with connection.transaction():
                transaction = Transaction(connection, self._source)
                yield transaction
            if transaction.said_events:
                self.said.set()
            transaction.committed()


def headers_to_json(headers: Headers) -> str:
    """Headers as the outbox keeps them: one JSON object, readable in SQL.

    Names that repeat and values that are no text do not fit an object; such headers become an array of [name, text]
    and [name, null, base64].
    """
    try:
        texts = {name: value.decode() for name, value in headers}
    except UnicodeDecodeError:
        return _headers_to_array(headers)
    if len(texts) < len(headers) or any("\x00" in text for text in texts.values()):  # jsonb knows no NUL
        return _headers_to_array(headers)
    return json.dumps(texts)


def _headers_to_array(headers: Headers) -> str:
    def item(name: str, value: bytes) -> list[str | None]:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return [name, None, b64encode(value).decode()]
        return [name, None, b64encode(value).decode()] if "\x00" in text else [name, text]

    return json.dumps([item(name, value) for name, value in headers])


def headers_from_json(text: str) -> Headers:
    """The headers that ``headers_to_json`` wrote."""
    kept = json.loads(text)
    if isinstance(kept, dict):
        return tuple([(name, value.encode()) for name, value in kept.items()])
    return tuple([(item[0], b64decode(item[2]) if item[1] is None else item[1].encode()) for item in kept])
