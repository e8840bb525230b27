"""Growing out of Postgres: nothing that was said is left behind, nothing takes effect twice, nobody uses both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from eventbus import bus_kafka, bus_postgres
from eventbus.bus import EventBus, Headers
from eventbus.bus_configured import open_bus
from eventbus.carrier import CarriedElsewhere
from eventbus.consume import ConsumeLoop, Subscription, Unprocessable
from eventbus.dead_letters import DeadLetters
from eventbus.move_to_kafka import MoveIncomplete, StillRunning, event_id_of, move_to_kafka
from eventbus.outbox import Outbox, Transaction
from eventbus.settings import BusSettings
from events import DEAD_LETTERS, Envelope, StreamStarted
from events.topics import STREAMS
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.eventbus.saying import by_channel, eventually, numbered, running

GROUP = "test-growing"
CHANNELS = 3


@pytest.fixture
def both(database: Database, kafka_bootstrap_servers: str, topic_prefix: str) -> BusSettings:
    """Settings that name both engines; the bus is the one on Postgres."""
    return BusSettings(
        bus_backend="postgres",
        postgres_dsn=database.dsn,
        kafka_bootstrap_servers=kafka_bootstrap_servers,
        kafka_topic_prefix=topic_prefix,
    )


@pytest.fixture
def on_kafka(both: BusSettings) -> BusSettings:
    return both.model_copy(update={"bus_backend": "kafka"})


@pytest.fixture
async def effects(pool: Pool) -> Pool:
    await pool.execute("CREATE TABLE effects (id bigserial, channel integer NOT NULL, title text NOT NULL)")
    return pool


def subscription(*, refuses: str = "") -> Subscription:
    async def keep(transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        event = envelope.event
        if event.title == refuses:
            raise Unprocessable("not this one")
        await transaction.connection.execute(
            "INSERT INTO effects (channel, title) VALUES ($1, $2)", event.channel_id.int, event.title
        )

    return Subscription(GROUP, {StreamStarted: keep})


@asynccontextmanager
async def consuming(settings: BusSettings, outbox: Outbox, wanted: Subscription) -> AsyncIterator[EventBus]:
    """A process of the installation: its bus, its relay, one group."""
    async with open_bus(settings) as bus:
        relay = bus.relay(settings.postgres_dsn, outbox, schema="streaming")
        async with running(relay.run(), ConsumeLoop(bus, outbox, wanted).run()):
            yield bus


async def say(outbox: Outbox, numbers: range) -> None:
    for number in numbers:
        async with outbox.transaction() as transaction:
            await transaction.say(*(numbered(channel, number) for channel in range(CHANNELS)))


async def effects_are(pool: Pool, count: int) -> None:
    async def there() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM effects") >= count)

    await eventually(there, what=f"{count} effects")


async def test_everything_said_is_on_kafka_in_order_and_takes_effect_once(
    both: BusSettings, on_kafka: BusSettings, effects: Pool, outbox: Outbox
) -> None:
    async with consuming(both, outbox, subscription()):
        await say(outbox, range(20))
        await effects_are(effects, 20 * CHANNELS)
    await say(outbox, range(20, 30))  # said while nobody consumes: neither read nor in order yet

    moved = await move_to_kafka(both)

    assert moved.records[STREAMS.name] == 30 * CHANNELS
    async with bus_kafka.open_bus(on_kafka) as kafka:
        numbers = by_channel([message async for message in kafka.read(STREAMS.name)])  # type: ignore[misc]  # a record with a place
    assert numbers == {channel: list(range(30)) for channel in range(CHANNELS)}
    async with consuming(on_kafka, outbox, subscription()):
        await say(outbox, range(30, 35))
        await effects_are(effects, 35 * CHANNELS)
    rows = await effects.fetch("SELECT channel, array_agg(title ORDER BY id) AS titles FROM effects GROUP BY channel")
    assert {row["channel"]: list(row["titles"]) for row in rows} == {
        channel: [f"#{number}" for number in range(35)] for channel in range(CHANNELS)
    }


async def test_dead_letters_move_and_can_still_be_replayed(
    both: BusSettings, on_kafka: BusSettings, effects: Pool, outbox: Outbox
) -> None:
    async with consuming(both, outbox, subscription(refuses="#1")) as bus:
        await say(outbox, range(3))
        await effects_are(effects, 2 * CHANNELS)

        async def set_aside() -> bool:
            return len(await DeadLetters(bus).all()) == CHANNELS

        await eventually(set_aside, what="the dead letters")
    moved = await move_to_kafka(both)
    assert moved.records[DEAD_LETTERS.name] == CHANNELS
    async with consuming(on_kafka, outbox, subscription()) as kafka:
        letters = DeadLetters(kafka)
        await letters.replay(await letters.all())
        await effects_are(effects, 3 * CHANNELS)
    assert await effects.fetchval("SELECT count(DISTINCT (channel, title)) FROM effects") == 3 * CHANNELS


async def test_a_setting_alone_does_not_move_anybody(both: BusSettings, on_kafka: BusSettings) -> None:
    async with open_bus(both):
        pass
    with pytest.raises(CarriedElsewhere, match="solo-to-full"):
        async with open_bus(on_kafka):
            pytest.fail("opened")
    await move_to_kafka(both)
    with pytest.raises(CarriedElsewhere, match="no way back"):
        async with open_bus(both):
            pytest.fail("opened")
    async with open_bus(on_kafka):
        pass


async def test_nothing_moves_while_a_process_runs(both: BusSettings, effects: Pool, outbox: Outbox) -> None:
    async with consuming(both, outbox, subscription()):
        await eventually(lambda: _joined(effects), what="a member")
        with pytest.raises(StillRunning, match=GROUP):
            await move_to_kafka(both)
        await say(outbox, range(2))
        await effects_are(effects, 2 * CHANNELS)
    assert await effects.fetchval("SELECT backend FROM bus.carrier") == "postgres"


# Have asked for a lock, and have none: the answer is there.
WAIT_TO_LEAD = """
    SELECT count(*) FROM pg_stat_activity AS a
    WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()
      AND state = 'idle' AND NOT EXISTS (SELECT FROM pg_locks WHERE pid = a.pid AND locktype = 'advisory')
"""


async def test_who_missed_the_move_can_neither_lead_nor_join(both: BusSettings, pool: Pool, outbox: Outbox) -> None:
    """A process that is frozen over the move loses its sessions, and finds the world changed when it wakes."""
    async with bus_postgres.open_bus(both) as stale, bus_postgres.open_bus(both) as woken:
        await pool.execute("INSERT INTO bus.carrier (backend) VALUES ('postgres')")

        async def waiting(count: int) -> bool:
            return bool(await pool.fetchval(WAIT_TO_LEAD) == count)

        await eventually(lambda: waiting(1), what="one of the two relays of the schema `bus` leads")
        moving = asyncio.create_task(move_to_kafka(both))
        await eventually(
            lambda: waiting(2), what="the move has come to the schema `bus`, whose relay one of the two still leads"
        )
        assert not moving.done()
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND datname = current_database() AND query NOT LIKE '%pg_try_advisory_lock%'"
        )
        await moving
        with pytest.raises(CarriedElsewhere):
            await stale.relay(both.postgres_dsn, outbox, schema="streaming").run()
        with pytest.raises(Exception, match=r"no longer on Postgres|events are on"):
            await asyncio.wait_for(ConsumeLoop(woken, outbox, subscription()).run(), timeout=20)


async def test_a_killed_move_goes_on_and_leaves_nothing_out(
    both: BusSettings, on_kafka: BusSettings, effects: Pool, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with consuming(both, outbox, subscription()):
        await say(outbox, range(10))
        await effects_are(effects, 10 * CHANNELS)
    stopped = asyncio.Event()

    def stop(line: str) -> None:
        if line.startswith("streaming: carried"):
            stopped.set()

    moving = asyncio.create_task(move_to_kafka(both, say=stop))
    await asyncio.wait_for(stopped.wait(), timeout=60)
    moving.cancel()
    await asyncio.wait({moving})
    assert await effects.fetchval("SELECT backend FROM bus.carrier") == "moving"
    for settings in (both, on_kafka):
        with pytest.raises(CarriedElsewhere, match="run it again"):
            async with open_bus(settings):
                pytest.fail("opened")
    await say(outbox, range(10, 12))
    moved = await move_to_kafka(both)
    assert moved.records[STREAMS.name] == 12 * CHANNELS
    assert (await move_to_kafka(both)).was_done


async def test_what_kafka_lacks_is_found_and_carried_by_the_next_run(
    both: BusSettings, effects: Pool, outbox: Outbox
) -> None:
    async with open_bus(both) as bus, running(bus.relay(both.postgres_dsn, outbox, schema="streaming").run()):
        await say(outbox, range(5))
        await eventually(lambda: _relayed(effects), what="the cursor at the end")
    # As if the cursor had been stored over: the relay to Kafka would begin behind what was said.
    await effects.execute("UPDATE bus.carrier SET backend = 'moving', unmoved = '{}'")
    with pytest.raises(MoveIncomplete) as raised:
        await move_to_kafka(both)
    assert (raised.value.topic, raised.value.missing_records) == (STREAMS.name, 5 * CHANNELS)
    assert (await move_to_kafka(both)).records[STREAMS.name] == 5 * CHANNELS


async def _joined(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT EXISTS (SELECT FROM bus.group_member)"))


async def _relayed(pool: Pool) -> bool:
    return bool(await pool.fetchval("SELECT id >= (SELECT max(id) FROM outbox) FROM outbox_cursor"))


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ((("ce_id", b"00000000-0000-0000-0000-000000000001"),), UUID(int=1)),
        ((("ce_id", b"\xff"),), None),
        ((), None),
    ],
)
def test_a_record_says_which_event_it_is(headers: Headers, wanted: UUID | None) -> None:
    assert event_id_of(headers) == wanted
