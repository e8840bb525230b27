"""The inbox: which events a consumer has handled, remembered in the transaction that holds their effects.

The port has a twin in memory (``inbox_memory``) for the tests of the loop.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol
from uuid import UUID

from eventbus.outbox import QUERIES, Outbox, Transaction


class Claim(NamedTuple):
    """A transaction, and those of the claimed events that the consumer has not handled before."""

    transaction: Transaction
    fresh: set[UUID]


class Inbox(Protocol):
    """Opens a transaction that remembers events."""

    def claim(self, consumer: str, event_ids: Sequence[UUID]) -> AbstractAsyncContextManager[Claim]:
        """Leaving commits effects and memory together; an exception rolls both back."""
        ...


class PostgresInbox:
    """The inbox in a service's own schema. One statement for a whole batch."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    @asynccontextmanager
    async def claim(self, consumer: str, event_ids: Sequence[UUID]) -> AsyncIterator[Claim]:
        """See ``Inbox.claim``. A second consumer with the same event waits here until the first one's fate is known."""
        async with self._outbox.transaction() as transaction:
            rows = await QUERIES.claim_events(transaction.connection, consumer=consumer, event_ids=event_ids)
            yield Claim(transaction, {row["event_id"] for row in rows})
