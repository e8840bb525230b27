"""The relay: carries a schema's outbox to the bus, in order, at least once.

Pattern: one leader per schema, by a session advisory lock on a connection of its own; every process may run a relay and
the others stand by. The leader reads in the order of the ids, up to the first gap that may still be filled
(``eventbus.gaps``), publishes the batch, waits for every acknowledgement and only then stores the cursor, on the same
connection: a lost lock is a lost connection and cannot store. The next batch is read while the acknowledgements are
awaited.

Invariants: nothing that committed is passed over, nothing that rolled back is published, events go out in the order of
their ids.

What it does not do: publish exactly once (a crash between acknowledgement and cursor repeats a batch; the inbox of the
consumers absorbs it), or overtake: while a transaction that has said something is open, younger events wait for it.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import structlog
from pydantic import SecretStr

from eventbus import metrics
from eventbus.bus import BusError, BusUnavailable, Publisher, Record
from eventbus.carrier import MOVING, CarriedElsewhere
from eventbus.gaps import Gaps
from eventbus.housekeeping import Housekeeping
from eventbus.outbox import QUERIES, Outbox, headers_from_json
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.health import Health
from runtime.postgres import connect
from runtime.unavailable import is_unavailable

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

BATCH_EVENTS_MAX = 1_000
POLL_GAP_SECONDS = 0.005
POLL_BUSY_SECONDS = 0.02
POLL_IDLE_SECONDS = 0.05
BUSY_FOR_SECONDS = 1.0
STANDBY_POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 3.0
MEASURE_INTERVAL_SECONDS = 5.0
STALLED_AFTER_SECONDS = 10.0
SESSION_IDLE_SECONDS_MAX = 15
RETRY_FIRST_SECONDS = 0.1
RETRY_CEILING_SECONDS = 2.0


class Batch(NamedTuple):
    """Events in publishing order, how many they are, and the id of the last."""

    records: list[Record]
    events: int
    last_id: int


class Relay:
    """Publishes one schema's outbox. A service; run one in every process that says events."""

    name = "relay"
    carriers: tuple[str, ...] = ("kafka", MOVING)
    """With which of these the relay may lead (``eventbus.carrier``)."""
    batch_events_max = BATCH_EVENTS_MAX
    poll_idle_seconds = POLL_IDLE_SECONDS

    def __init__(
        self, dsn: SecretStr, bus: Publisher, outbox: Outbox, *, schema: str, health: Health | None = None
    ) -> None:
        self._dsn = dsn
        self._bus = bus
        self._said = outbox.said
        self._schema = schema
        self._trouble: str | None = None
        self._published = metrics.events_published.labels(schema)
        self._publish_seconds = metrics.publish_seconds.labels(schema)
        self._gaps = Gaps()
        self._busy_until = 0.0
        self._measure_at = 0.0
        if health is not None:
            health.watch(f"relay-{schema}", self.check)

    def check(self) -> None:
        """Raise with the reason while events cannot be published."""
        if self._trouble is not None:
            raise BusUnavailable(self._trouble)

    async def run(self) -> None:
        """Relay, or stand by for the leader to go; away engines are waited for without end."""
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._relay(backoff)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                if not is_unavailable(error):
                    raise
                self._trouble = f"Postgres is away: {str(error) or type(error).__name__}"
                log.warning("relay_lost_postgres", schema=self._schema, reason=str(error) or type(error).__name__)
            finally:
                metrics.relay_leads.labels(self._schema).set(0)
            raise_if_cancelled()
            await backoff.wait()

    async def _relay(self, backoff: Backoff) -> None:
        connection = await connect(self._dsn, schema=self._schema)
        try:
            await _prepare(connection)
            while not await QUERIES.take_leadership(connection, schema=self._schema):
                self._trouble = None
                await asyncio.sleep(STANDBY_POLL_SECONDS)
            await self._require_carrier(connection)
            log.info("relay_leads", schema=self._schema)
            metrics.relay_leads.labels(self._schema).set(1)
            self._trouble = None
            backoff.reset()
            await self._lead(connection)
        finally:
            # A session that cannot say goodbye is cut off; the lock goes with it either way.
            connection.terminate()

    async def _require_carrier(self, connection: "Session") -> None:
        """Raise CarriedElsewhere rather than lead events to where nobody hears them: the last to know of a move."""
        carrier = await QUERIES.read_carrier(connection)
        if carrier is not None and carrier not in self.carriers:
            raise CarriedElsewhere(carrier, self.carriers[0])

    async def _lead(self, connection: "Session") -> None:
        housekeeping = self._housekeeping()
        self._gaps = Gaps()
        place = await QUERIES.read_place(connection)
        batch = await self._read(connection, place)
        while True:
            await housekeeping.when_due(connection)
            await self._measure_when_due(connection)
            if batch is None:
                await self._wait_for_events()
                batch = await self._read(connection, place)
                continue
            place = batch.last_id
            batch = await self._carry(connection, batch)

    def _housekeeping(self) -> Housekeeping:
        return Housekeeping(self._schema)

    async def _look(self, connection: "Session", after_id: int) -> Sequence[asyncpg.Record]:
        """The next events: ``id`` and ``oldest_open`` at least, and all that ``_records`` wants."""
        rows: Sequence[asyncpg.Record] = await QUERIES.read_unpublished(
            connection, id=after_id, events_max=self.batch_events_max
        )
        return rows

    def _records(self, rows: Sequence[asyncpg.Record]) -> list[Record]:
        return [Record(topic, key, data, headers_from_json(headers)) for _, topic, key, headers, data, _ in rows]

    async def _read(self, connection: "Session", after_id: int) -> Batch | None:
        self._said.clear()
        rows = await self._look(connection, after_id)
        if not rows:
            return None
        self._busy_until = time.monotonic() + BUSY_FOR_SECONDS
        ids = [row[0] for row in rows]
        count = self._gaps.publishable(ids, after_id=after_id, oldest_open=rows[0]["oldest_open"])
        if count < len(ids) and self._gaps.wants_mark(ids[-1]):
            self._gaps.mark(ids[-1], transaction_id=await QUERIES.take_transaction_id(connection))
        if count == 0:
            return None
        return Batch(self._records(rows[:count]), count, ids[count - 1])

    async def _carry(self, connection: "Session", batch: Batch) -> Batch | None:
        """Have ``batch`` readable for consumers, remember that it is, and answer the following one."""
        following = await self._publish(connection, batch)
        await QUERIES.store_place(connection, id=batch.last_id)
        return following

    async def _publish(self, connection: "Session", batch: Batch) -> Batch | None:
        """Publish ``batch`` until it is acknowledged, reading the following one meanwhile."""
        started = time.monotonic()
        publishing = asyncio.create_task(self._publish_until_acknowledged(batch.records))
        try:
            following = await self._read(connection, batch.last_id)
            while not publishing.done():
                await asyncio.wait({publishing}, timeout=HEARTBEAT_SECONDS)
                if not publishing.done():
                    # Keeps the session, and with it the lock, alive; fails as soon as either is lost.
                    await self._measure(connection)
                    self._trouble = self._trouble or "the bus does not acknowledge"
            publishing.result()
        finally:
            if not publishing.done():
                publishing.cancel()
                await asyncio.wait({publishing})
        self._trouble = None
        self._published.inc(batch.events)
        self._publish_seconds.observe(time.monotonic() - started)
        return following

    async def _publish_until_acknowledged(self, records: Sequence[Record]) -> None:
        backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_CEILING_SECONDS)
        while True:
            try:
                await self._bus.publish(records)
                return
            except BusError as error:
                # A refused record is waited on as well: an event that was said is never dropped. Outbox.say bounds the
                # size, so a refusal means a broker that is set up wrongly, and that can be mended.
                self._trouble = f"the bus is away: {error}"
                log.warning("relay_cannot_publish", schema=self._schema, reason=str(error), attempts=backoff.attempts)
            await backoff.wait()

    async def _wait_for_events(self) -> None:
        busy = time.monotonic() < self._busy_until
        seconds = POLL_GAP_SECONDS if self._gaps.open else POLL_BUSY_SECONDS if busy else self.poll_idle_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._said.wait()
        except TimeoutError:
            return

    async def _measure_when_due(self, connection: "Session") -> None:
        if time.monotonic() >= self._measure_at:
            await self._measure(connection)

    async def _measure(self, connection: "Session") -> None:
        self._measure_at = time.monotonic() + MEASURE_INTERVAL_SECONDS
        backlog = await QUERIES.measure_backlog(connection)
        metrics.events_unpublished.labels(self._schema).set(backlog["events"])
        metrics.oldest_unpublished_seconds.labels(self._schema).set(backlog["oldest_seconds"])
        if backlog["oldest_seconds"] > STALLED_AFTER_SECONDS:
            log.warning(
                "outbox_stalled",
                schema=self._schema,
                oldest_seconds=round(backlog["oldest_seconds"], 1),
                events=backlog["events"],
                reason=self._trouble or "an older transaction is still open",
                at=datetime.now(UTC).isoformat(),
            )


async def _prepare(connection: "Session") -> None:
    # A leader that is frozen or cut off loses its session, so that a standby can take over. Losing the cursor's last
    # moments in a crash of Postgres only repeats events, so its commits need not wait for the disk.
    await connection.execute(
        f"SET idle_session_timeout = '{SESSION_IDLE_SECONDS_MAX}s'; SET tcp_keepalives_idle = 5;"
        " SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET synchronous_commit = off"
    )
