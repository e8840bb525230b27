"""The inbox's twin in memory: the same claims without a database; what handlers say is kept in a list."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from eventbus.inbox import Claim
from eventbus.outbox import Transaction
from events import Event
from runtime.postgres import Connection


class MemoryTransaction(Transaction):
    """A transaction without a database: handlers may say events, and nothing else."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self._committed = []

    @property
    def connection(self) -> Connection:  # type: ignore[override]  # an attribute in the real one
        """There is none."""
        raise NotImplementedError("a handler that needs the database is tested with one")

    async def say(self, *events: Event) -> None:
        """Keep the events until the commit."""
        self.said.extend(events)


class MemoryInbox:
    """See ``eventbus.inbox.Inbox``. Claims of one process only; not for concurrent claims of one event."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self._handled: set[tuple[str, UUID]] = set()

    @asynccontextmanager
    async def claim(self, consumer: str, event_ids: Sequence[UUID]) -> AsyncIterator[Claim]:
        """See ``Inbox.claim``."""
        transaction = MemoryTransaction()
        fresh = {event_id for event_id in event_ids if (consumer, event_id) not in self._handled}
        claimed = set(fresh)
        yield Claim(transaction, fresh)
        self._handled |= {(consumer, event_id) for event_id in claimed}
        self.said.extend(transaction.said)
        transaction.committed()
