"""The bus on Postgres: no broker; the outbox of each schema is the log of its topics, and groups keep cursors on it.

Pattern: services say events into their outbox as ever. Their relay (``eventbus.sequencer``) proves the order and moves
the outbox's cursor; consumers read behind it, woken in memory by the relays of their own process and by polling for
those of others. A group's members share partitions by rows in the schema ``bus`` (``eventbus.group_session``,
``eventbus.postgres_consumer``), which also has an outbox for what no service alone says: dead letters.

Concurrency: any number of processes; in each, one session for all groups, and a small pool for reading and publishing.

Invariants: nobody reads past the relay's cursor, so nothing that committed is passed over; only a partition's owner
moves its cursor; an outbox partition is dropped only when every group has read it.

What it does not do: fan out to many processes cheaply (every one polls), keep topics apart (those of one schema share
a log), or wake another process before its next poll: NOTIFY would serialise the commits of the services.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import structlog
from pydantic import SecretStr

from eventbus.bus import (
    BusUnavailable,
    Consumer,
    EventBus,
    Message,
    RebalanceListener,
    Record,
    RecordRefused,
    UnknownTopic,
)
from eventbus.group_session import MEMBER_SILENCE_SECONDS_MAX, POSTGRES_ERRORS, GroupSession
from eventbus.log_postgres import BUS_SCHEMA, log_schema, messages_of, of_schema, watermarks_sql
from eventbus.outbox import QUERIES, Outbox, headers_to_json
from eventbus.postgres_consumer import PostgresConsumer
from eventbus.sequencer import Sequencer
from eventbus.settings import BusSettings
from eventbus.watermarks import Watermarks
from events import TOPICS, Topic
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.health import Health
from runtime.migrations import wait_until_migrated
from runtime.postgres import Pool, Query, open_pool
from runtime.service import Service
from runtime.unavailable import is_unavailable
from runtime.waiting import wait_for

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 4
RECORD_BYTES_MAX = 900_000
"""Key, value and headers together: what Kafka takes as well, so that every record can move there."""

ACQUIRE_TIMEOUT_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 2.0
READ_WAIT_SECONDS_MAX = 10.0
READ_RECORDS_MAX = 500
READ_BYTES_MAX = 4 * 1_048_576
STOP_SECONDS_MAX = 1.0
RETRY_FIRST_SECONDS = 0.1
RETRY_CEILING_SECONDS = 2.0
REMEDY = "it is not in the contract (events/topics.py)"


class PostgresBus:
    """One per process. Made by ``open_bus``."""

    def __init__(
        self,
        pool: Pool,
        dsn: SecretStr,
        *,
        topics: Sequence[Topic] = TOPICS,
        silence_seconds_max: float = MEMBER_SILENCE_SECONDS_MAX,
        read_wait_seconds_max: float = READ_WAIT_SECONDS_MAX,
    ) -> None:
        """``pool`` sees the schema ``bus``; ``dsn`` reaches the same database directly, not through a pooler."""
        self._read_wait_seconds_max = read_wait_seconds_max
        self._pool = pool
        self._dsn = dsn
        self._topics = {topic.name: topic for topic in topics}
        schemas = sorted({BUS_SCHEMA, *(log_schema(topic) for topic in topics)})
        self._watermarks_sql = watermarks_sql(tuple(schemas))
        self._watermarks = Watermarks(schemas, self._read_watermarks)
        self._session = GroupSession(dsn, silence_seconds_max=silence_seconds_max)
        self._said: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._health = Health()
        self._tasks: list[asyncio.Task[None]] = []
        self._polled = "nothing is known of the outboxes yet"

    async def start(self) -> None:
        """Know how far the outboxes may be read, keep knowing, and be able to join groups; waits for Postgres."""
        await wait_for("postgres", self._watermarks.poll)
        self._polled = ""
        relay = self.relay(self._dsn, Outbox(self._pool, source=BUS_SCHEMA), schema=BUS_SCHEMA, health=self._health)
        self._tasks = [
            self._background("bus-session", self._session.run()),
            self._background("bus-watermarks", self._poll()),
            self._background("bus-relay", relay.run()),
        ]
        await self._session.wait_ready()

    async def close(self) -> None:
        """Stop what runs for the bus."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS_MAX)

    def _background(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("bus_part_failed", part=name, error=repr(error))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        return task

    # --- What a process does with it ----------------------------------------------------------------------------------

    async def publish(self, records: Sequence[Record]) -> None:
        """See ``Publisher.publish``. Acknowledged means committed; all of one outbox or none."""
        by_schema: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_schema[log_schema(self._topic(record.topic))].append(record)
            if _bytes_of(record) > RECORD_BYTES_MAX:
                raise RecordRefused(f"a record for {record.topic} exceeds {RECORD_BYTES_MAX} bytes")
        for schema, of_one in by_schema.items():
            await self.fetch(
                of_schema(QUERIES.append_records, schema),
                topics=[record.topic for record in of_one],
                keys=[record.key for record in of_one],
                headers=[headers_to_json(record.headers) for record in of_one],
                data=[record.value for record in of_one],
            )
            for said in self._said[schema]:
                said.set()

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AbstractAsyncContextManager[Consumer]:
        """See ``EventBus.consumer``."""
        return self._consumer(group, topics, listener)

    @asynccontextmanager
    async def _consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener
    ) -> AsyncIterator[Consumer]:
        self.raise_if_failed()
        consumer = PostgresConsumer(self, self._session, group, [self._topic(name) for name in topics], listener)
        self._watermarks.listen(consumer.wake)
        try:
            await consumer.start()
            yield consumer
        finally:
            self._watermarks.unlisten(consumer.wake)
            await consumer.close()

    async def read(self, topic: str, *, start: Mapping[int, int] | None = None) -> AsyncIterator[Message]:
        """See ``EventBus.read``. Waits until all that is committed at the call may be read."""
        known = self._topic(topic)
        schema = log_schema(known)
        end: int = await self.fetch(of_schema(QUERIES.read_newest_id, schema))
        await self._wait_until_readable(schema, end)
        place = -1 if start is None else min(start.values(), default=end + 1) - 1
        while place < end:
            rows = await self.fetch(
                of_schema(QUERIES.read_log, schema),
                after_id=place,
                last_id=end,
                topics=[topic],
                records_max=READ_RECORDS_MAX,
                bytes_max=READ_BYTES_MAX,
            )
            for message in messages_of(rows, {topic: known.partitions}):
                if start is None or message.offset >= start.get(message.partition, end + 1):
                    yield message
            place = rows[-1]["id"] if rows else end

    def relay(self, dsn: SecretStr, outbox: Outbox, *, schema: str, health: Health | None = None) -> Service:
        """See ``EventBus.relay``."""
        self._said[schema].add(outbox.said)
        topics = [topic for topic in self._topics.values() if log_schema(topic) == schema]
        return Sequencer(dsn, outbox, topics, schema=schema, health=health, on_readable=self._watermarks.move)

    async def check(self) -> None:
        """See ``EventBus.check``."""
        self.raise_if_failed()
        reasons = [self._session.trouble, self._polled, *(await self._health.reasons()).values()]
        for reason in filter(None, reasons):
            raise BusUnavailable(reason)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._read_watermarks()
        except TimeoutError as error:
            raise BusUnavailable(f"Postgres does not answer within {CHECK_TIMEOUT_SECONDS:g} s") from error

    # --- What its consumers ask ---------------------------------------------------------------------------------------

    def watermark(self, schema: str) -> int:
        """Up to which id the outbox of ``schema`` may be read, as far as this process knows."""
        return self._watermarks[schema]

    def raise_if_failed(self) -> None:
        """Raise what a part of the bus died of; a bus without it would stand still and say nothing."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def fetch(self, query: Query, **given: object) -> Any:  # noqa: ANN401  only the query knows
        """Run a query on the pool. Raises BusUnavailable."""
        with _unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                return await query(connection, **given)

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _topic(self, name: str) -> Topic:
        if name not in self._topics:
            raise UnknownTopic(name, remedy=REMEDY)
        return self._topics[name]

    async def _read_watermarks(self) -> dict[str, int]:
        with _unavailable():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                return {row["schema"]: row["id"] for row in await connection.fetch(self._watermarks_sql)}

    async def _poll(self) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._watermarks.poll()
                self._polled = ""
                backoff.reset()
                await asyncio.sleep(self._watermarks.poll_seconds)
            except BusUnavailable as error:
                self._polled = str(error)
                log.warning("bus_poll_failed", reason=str(error), attempts=backoff.attempts)
                await backoff.wait()

    async def _wait_until_readable(self, schema: str, record_id: int) -> None:
        moved = asyncio.Event()
        self._watermarks.listen(moved.set)
        try:
            async with asyncio.timeout(self._read_wait_seconds_max):
                while self._watermarks[schema] < record_id:
                    moved.clear()
                    await moved.wait()
        except TimeoutError as error:
            raise BusUnavailable(
                f"the outbox of {schema} is not readable up to its end:"
                f" its relay does not run, or a transaction has been open for {self._read_wait_seconds_max:g} s"
            ) from error
        finally:
            self._watermarks.unlisten(moved.set)


def _bytes_of(record: Record) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except POSTGRES_ERRORS as error:
        raise_if_cancelled()
        if isinstance(error, BusUnavailable) or not is_unavailable(error):
            raise
        raise BusUnavailable(f"Postgres does not answer: {str(error) or type(error).__name__}") from error


def open_bus(settings: BusSettings, *, topics: Sequence[Topic] = TOPICS) -> AbstractAsyncContextManager[EventBus]:
    """The bus of a process; waits for Postgres and its migrations, saying so."""
    return _open_bus(settings, topics)


@asynccontextmanager
async def _open_bus(settings: BusSettings, topics: Sequence[Topic]) -> AsyncIterator[EventBus]:
    own = settings.model_copy(update={"postgres_connections_max": CONNECTIONS_MAX})
    async with open_pool(own, schema=BUS_SCHEMA, stateless=True) as pool:
        await wait_until_migrated(pool, schema=BUS_SCHEMA)
        bus = PostgresBus(pool, settings.postgres_dsn, topics=topics)
        try:
            await bus.start()
            yield bus
        finally:
            await asyncio.shield(bus.close())
