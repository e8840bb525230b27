"""Growing out of Postgres: every event that the outboxes still hold goes to Kafka, and Kafka carries them from then on.

Pattern: the installation is marked as moving, which keeps everybody else out; the outboxes' cursors go back to the
beginning; the relay to Kafka, which is the services' own, carries each outbox to its end; what is in Kafka then is
compared with what is in the outboxes; and the installation is marked as being on Kafka, where the services' relays go
on from the very cursors.

Invariants: nothing that was said is left behind, whoever had read it; what a group has handled it recognises by its
inbox, which outlives the outboxes. Killed anywhere, the move goes on when it is run again.

What it does not do: carry events that are older than their topic's retention and dropped, or move back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from eventbus import bus_kafka
from eventbus.bus import EventBus, Headers
from eventbus.carrier import claim
from eventbus.log_postgres import BUS_SCHEMA, log_schema, of_schema
from eventbus.outbox import QUERIES, Outbox
from eventbus.relay import Relay
from eventbus.settings import BusSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS, Topic
from runtime.backoff import Backoff
from runtime.migrations import require_migrated
from runtime.postgres import Pool, connect, open_pool

CONNECTIONS_MAX = 4
LOOK_SECONDS = 0.2
LEADERSHIP_TIMEOUT_SECONDS = 40.0
"""Longer than the session of a frozen leader lives (``relay.SESSION_IDLE_SECONDS_MAX``)."""

CLOSE_TIMEOUT_SECONDS = 2.0
STALLED_AFTER_SECONDS = 60.0
PAGE_RECORDS = 5_000

Say = Callable[[str], None]
NEXT_STEP = "run livestream migrate solo-to-full again"


class MoveError(Exception):
    """Base of what stops a move; the installation stays marked as moving, unless the text says otherwise.

    MoveError
    ├── StillRunning   processes still consume from Postgres; nothing was changed
    ├── MoveStalled    an outbox does not get to Kafka
    └── MoveIncomplete what is in Kafka lacks something; the next run carries all of it again
    """


class StillRunning(MoveError):
    """`groups` have members that live."""

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__(f"stop every process first (livestream solo): {', '.join(groups)} still consume from Postgres")
        self.groups = tuple(groups)


class MoveStalled(MoveError):
    """The outbox of `schema` has not moved for a while; `reason` says who is in the way."""

    def __init__(self, schema: str, reason: str) -> None:
        super().__init__(f"the outbox of {schema} does not get to Kafka: {reason}; look at the log, then {NEXT_STEP}")
        self.schema = schema
        self.reason = reason


class MoveIncomplete(MoveError):
    """`topic` in Kafka lacks `missing_records` of those in the outbox."""

    def __init__(self, topic: str, missing_records: int) -> None:
        super().__init__(f"{missing_records} records of {topic} are not in Kafka: {NEXT_STEP}")
        self.topic = topic
        self.missing_records = missing_records


@dataclass(frozen=True, slots=True)
class Moved:
    """What was found in Kafka at the end: records by topic. Empty if Kafka had the events already."""

    records: dict[str, int]
    was_done: bool = False


async def move_to_kafka(settings: BusSettings, *, say: Say = lambda _line: None) -> Moved:
    """Carry everything to Kafka, verify it, and have Kafka carry from now on. Safe to repeat.

    ``settings`` name both Postgres and Kafka, whichever is their bus. Raises MoveError, StaleSchema, BusUnavailable,
    TopicRefused.
    """
    own = settings.model_copy(update={"postgres_connections_max": CONNECTIONS_MAX})
    async with open_pool(own, schema=BUS_SCHEMA) as pool:
        await require_migrated(pool, schema=BUS_SCHEMA)
        if not await _begin(pool):
            return Moved({}, was_done=True)
        say("Kafka: making the topics")
        async with open_topics(settings) as topics:
            await topics.make(TOPICS)
        async with bus_kafka.open_bus(settings) as kafka:
            for schema in schemas_of(TOPICS):
                await _rewind(settings, schema)
                await _carry(settings, kafka, pool, schema, say)
            say("comparing what is in Kafka with what is in the outboxes")
            records = {topic.name: await _compare(kafka, pool, topic) for topic in TOPICS}
        async with pool.acquire() as connection:
            await QUERIES.end_move(connection)
    return Moved(records)


def schemas_of(topics: Sequence[Topic]) -> list[str]:
    """The schemas whose outboxes are the logs of ``topics``."""
    return sorted({log_schema(topic) for topic in topics})


async def _begin(pool: Pool) -> bool:
    """Mark the move as begun, nobody else being there; False if it has ended long ago. Raises StillRunning."""
    async with pool.acquire() as connection, connection.transaction():
        await claim(connection, "postgres")
        carrier = await QUERIES.lock_carrier(connection)
        if carrier == "postgres":
            if living := await QUERIES.read_living_groups(connection):
                raise StillRunning([row["group_name"] for row in living])
            await QUERIES.begin_move(connection, schemas=schemas_of(TOPICS))
        return bool(carrier != "kafka")


async def _rewind(settings: BusSettings, schema: str) -> None:
    """Have the outbox of ``schema`` carried from its beginning, once.

    Only who leads the relay may: a cursor that goes back under a leader would be stored over.
    """
    connection = await connect(settings.postgres_dsn, schema=schema)
    try:
        async with asyncio.timeout(LEADERSHIP_TIMEOUT_SECONDS):
            backoff = Backoff(LOOK_SECONDS, LOOK_SECONDS)
            while not await QUERIES.take_leadership(connection, schema=schema):
                await backoff.wait()
        async with connection.transaction():
            if await QUERIES.take_unmoved(connection, schema=schema):
                await QUERIES.store_place(connection, id=0)
    except TimeoutError as error:
        raise MoveStalled(schema, "another process still leads its relay") from error
    finally:
        await connection.close(timeout=CLOSE_TIMEOUT_SECONDS)


async def _carry(settings: BusSettings, kafka: EventBus, pool: Pool, schema: str, say: Say) -> None:
    """Run the relay to Kafka until the outbox is at its end."""
    relay = Relay(settings.postgres_dsn, kafka, Outbox(pool, source=schema), schema=schema)
    relaying = asyncio.create_task(relay.run())
    try:
        async with pool.acquire() as connection:
            end: int = await of_schema(QUERIES.read_newest_id, schema)(connection)
            place, moved_at = -1, asyncio.get_running_loop().time()
            while (at := await of_schema(QUERIES.read_place, schema)(connection)) < end:
                if at > place:
                    place, moved_at = at, asyncio.get_running_loop().time()
                    say(f"{schema}: event {at} of {end}")
                elif asyncio.get_running_loop().time() - moved_at > STALLED_AFTER_SECONDS:
                    raise MoveStalled(schema, "Kafka takes none of its events")
                await asyncio.wait({relaying}, timeout=LOOK_SECONDS)
                if relaying.done():
                    relaying.result()
        say(f"{schema}: carried")
    finally:
        relaying.cancel()
        await asyncio.wait({relaying})


async def _compare(kafka: EventBus, pool: Pool, topic: Topic) -> int:
    """How many records of the topic Kafka has, all of the outbox's among them.

    Raises MoveIncomplete; the next run then carries all outboxes from their beginning.
    """
    there: set[UUID] = set()
    records = 0
    async for message in kafka.read(topic.name):
        records += 1
        if (event_id := event_id_of(message.headers)) is not None:
            there.add(event_id)
    kept = missing = 0
    async for ids in _kept(pool, topic):
        kept += len(ids)
        missing += sum(1 for event_id in ids if event_id is not None and event_id not in there)
    if missing := max(missing, kept - records):
        async with pool.acquire() as connection:
            await QUERIES.begin_move(connection, schemas=schemas_of(TOPICS))
        raise MoveIncomplete(topic.name, missing)
    return records


async def _kept(pool: Pool, topic: Topic) -> AsyncIterator[list[UUID | None]]:
    """The records of a topic that its outbox holds, a page at a time: the id of each, None for a raw one."""
    query = of_schema(QUERIES.read_event_ids, log_schema(topic))
    place = 0
    while True:
        async with pool.acquire() as connection:
            rows = await query(connection, after_id=place, topic=topic.name, records_max=PAGE_RECORDS)
        if not rows:
            return
        yield [row["event_id"] for row in rows]
        place = rows[-1]["id"]


def event_id_of(headers: Headers) -> UUID | None:
    """The event that a record says it is (CloudEvents `id`); None if it says none."""
    for name, value in headers:
        if name == "ce_id":
            try:
                return UUID(value.decode())
            except ValueError:
                return None
    return None
