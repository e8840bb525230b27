"""The system that the tests of a module send whatever they like to."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests import engines
from tests.contract.world import World, open_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_dsn: str, migrated_template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """All services in one process on a fresh database."""
    with engines.fresh_database(postgres_dsn, template=migrated_template) as database:
        async with open_world(database, redis_url, tmp_path_factory.mktemp("solo")) as opened:
            yield opened
            assert not opened.mistakes()
