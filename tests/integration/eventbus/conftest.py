"""What the tests of the bus on real engines share: a bus of either kind, a pool on one schema, an outbox."""

from collections.abc import AsyncIterator

import pytest

from eventbus.bus import EventBus
from eventbus.bus_configured import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import BusSettings, KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database

SCHEMA = "streaming"


@pytest.fixture(params=["kafka", "postgres"])
async def bus_settings(request: pytest.FixtureRequest, database: Database) -> BusSettings:
    """Either bus, with everything made on it."""
    if request.param == "postgres":
        return BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)
    kafka = KafkaSettings(
        kafka_bootstrap_servers=request.getfixturevalue("kafka_bootstrap_servers"),
        kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
    )
    async with open_topics(kafka) as topics:
        await topics.make(TOPICS)
    return BusSettings(
        postgres_dsn=database.dsn,
        kafka_bootstrap_servers=kafka.kafka_bootstrap_servers,
        kafka_topic_prefix=kafka.kafka_topic_prefix,
    )


@pytest.fixture
async def bus(bus_settings: BusSettings) -> AsyncIterator[EventBus]:
    async with open_bus(bus_settings) as opened:
        yield opened


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=20)
    async with open_pool(settings, schema=SCHEMA) as opened:
        yield opened


@pytest.fixture
def outbox(pool: Pool) -> Outbox:
    return Outbox(pool, source=SCHEMA)
