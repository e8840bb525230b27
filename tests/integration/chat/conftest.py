"""A place for chat gateways: a database and topics of the test's own, the shared Redis, signed tokens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.postgres import connect
from tests import engines
from tests.integration.chat.gateways import Accounts, Person, Site, chat_environment, create_topics


@pytest.fixture
async def chat_variables(
    database: engines.Database, kafka_bootstrap_servers: str, topic_prefix: str
) -> AsyncIterator[tuple[dict[str, str], Accounts]]:
    """What every gateway of the test is told, but for its Redis and its port."""
    accounts = Accounts()
    async with accounts.published() as jwks_url:
        variables = {
            "LIVESTREAM_POSTGRES_DSN": database.url,
            "LIVESTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "LIVESTREAM_KAFKA_TOPIC_PREFIX": topic_prefix,
            "LIVESTREAM_JWKS_URL": jwks_url,
            "LIVESTREAM_PUBLIC_URL": "http://edge.test",
            "LIVESTREAM_CHAT_MESSAGES_PER_MINUTE": "6000",
        }
        await create_topics(chat_environment(variables))
        yield variables, accounts


@pytest.fixture
async def site(chat_variables: tuple[dict[str, str], Accounts], redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Gateways on the shared Redis."""
    variables, accounts = chat_variables
    made = Site(chat_environment(variables, LIVESTREAM_REDIS_URL=redis_url), accounts, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def streamer(database: engines.Database) -> Person:
    """Somebody whose room exists."""
    person = Person("streamer")
    connection = await connect(database.dsn, schema="chat")
    await connection.execute(
        "INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", person.user_id, person.name
    )
    await connection.close()
    return person
