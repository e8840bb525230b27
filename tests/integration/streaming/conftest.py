"""Streaming on a database of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests import engines
from tests.integration.streaming.studio import Studio, open_studio


@pytest.fixture
async def studio(database: engines.Database) -> AsyncIterator[Studio]:
    """Streaming, served, with a media server that only remembers."""
    async with open_studio(database.dsn) as opened:
        yield opened
