"""What the tests of the bus on real engines share: topics of their own, a pool on one schema, an outbox."""

from collections.abc import AsyncIterator

import pytest

from eventbus.bus import EventBus
from eventbus.bus_kafka import open_bus
from eventbus.outbox import Outbox
from eventbus.settings import KafkaSettings
from eventbus.topics_kafka import open_topics
from events import TOPICS
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database

SCHEMA = "streaming"


@pytest.fixture
async def kafka(kafka_bootstrap_servers: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap_servers, kafka_topic_prefix=topic_prefix)
    async with open_topics(settings) as topics:
        await topics.make(TOPICS)
    return settings


@pytest.fixture
async def bus(kafka: KafkaSettings) -> AsyncIterator[EventBus]:
    async with open_bus(kafka) as opened:
        yield opened


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=20)
    async with open_pool(settings, schema=SCHEMA) as opened:
        yield opened


@pytest.fixture
def outbox(pool: Pool) -> Outbox:
    return Outbox(pool, source=SCHEMA)
