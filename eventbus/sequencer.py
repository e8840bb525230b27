"""The relay of the bus on Postgres: the outbox is the log, so to publish a batch is to say how far it may be read.

Everything else is the relay's: one leader per schema, the proof at gaps, the cursor. So the order has one proof for
every bus, and a relay to Kafka can go on from the very cursor.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import asyncpg
from pydantic import SecretStr

from eventbus.bus import Record
from eventbus.group_backlog import BacklogWatch
from eventbus.housekeeping import OUTBOX_KEEP, Housekeeping
from eventbus.outbox import QUERIES, Outbox
from eventbus.relay import Batch, Relay
from events import Topic
from runtime.health import Health

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

BATCH_IDS_MAX = 10_000
POLL_IDLE_SECONDS = 0.2
"""What this process says wakes its relay at once; this is for what other processes of the service say."""


class Sequencer(Relay):
    """Moves the cursor of one schema's outbox, up to which consumers read. A service."""

    name = "relay"
    carriers = ("postgres",)
    batch_events_max = BATCH_IDS_MAX
    poll_idle_seconds = POLL_IDLE_SECONDS

    def __init__(
        self,
        dsn: SecretStr,
        outbox: Outbox,
        topics: Sequence[Topic],
        *,
        schema: str,
        health: Health | None = None,
        on_readable: Callable[[str, int], object],
    ) -> None:
        """``topics`` are those whose log the schema's outbox is; ``on_readable`` hears of each move of the cursor."""
        super().__init__(dsn, _Nowhere(), outbox, schema=schema, health=health)
        self._topics = tuple(topics)
        self._on_readable = on_readable
        self._backlog = BacklogWatch(schema, self._topics)

    async def _look(self, connection: "Session", after_id: int) -> Sequence[asyncpg.Record]:
        rows: Sequence[asyncpg.Record] = await QUERIES.read_unpublished_ids(
            connection, id=after_id, events_max=self.batch_events_max
        )
        return rows

    def _records(self, rows: Sequence[asyncpg.Record]) -> list[Record]:
        return []

    async def _carry(self, connection: "Session", batch: Batch) -> Batch | None:
        await QUERIES.store_place(connection, id=batch.last_id)
        self._on_readable(self._schema, batch.last_id)
        self._published.inc(batch.events)
        if batch.events < self.batch_events_max and not self._gaps.open:
            return None  # there was nothing beyond, and what was said since wakes us
        return await self._read(connection, batch.last_id)

    async def _measure(self, connection: "Session") -> None:
        await super()._measure(connection)
        await self._backlog.when_due(connection)

    def _housekeeping(self) -> Housekeeping:
        return LogHousekeeping(self._schema, self._topics)


class LogHousekeeping(Housekeeping):
    """As for any outbox, but what is old is kept for the topics' retention, and until every group has read it."""

    def __init__(self, schema: str, topics: Sequence[Topic]) -> None:
        super().__init__(schema, outbox_keep=max([OUTBOX_KEEP, *(topic.retention for topic in topics)]))
        self._names = [topic.name for topic in topics]

    async def done_id(self, connection: "Session") -> int:
        """The id up to which it is published and read by every group."""
        published = await super().done_id(connection)
        read: int | None = await QUERIES.slowest_reader(connection, topics=self._names)
        return published if read is None else min(published, read)


class _Nowhere:
    """Publishing is done when the event is committed."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Nothing."""
