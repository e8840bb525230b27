"""Fixtures of the fault runs of the archive: its data, and its processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.objects_disk import DiskObjects
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.faults.archive_process import Processes, environment_of
from tests.integration.archive.clips import Clip, make_clip
from tests.integration.archive.house import House


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """8 s of 720p in four segments."""
    return make_clip(tmp_path_factory.mktemp("clips") / "large", seconds=8)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s of 240p in two segments."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small", seconds=4, size="320x240", rate=15)


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    """An archive over a disk store."""
    for name in ("hls", "work", "objects"):
        (tmp_path / name).mkdir()
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with open_pool(settings, schema="archive") as pool, DiskObjects(tmp_path / "objects") as objects:
        yield House(pool, objects, tmp_path / "hls", tmp_path / "work")


@pytest.fixture
async def processes(
    house: House, database: Database, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Processes]:
    """Processes of that archive; those that run in the end are killed."""
    environment = environment_of(
        house, database_url=database.url, kafka_bootstrap_servers=kafka_bootstrap_servers, topic_prefix=topic_prefix
    )
    started = Processes(environment, tmp_path / "processes.log")
    yield started
    await started.kill_all()
