"""Fixtures of the archive's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.objects_disk import DiskObjects
from runtime.postgres import open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.archive.clips import Clip, make_clip
from tests.integration.archive.house import House


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    """An archive over a disk store."""
    for name in ("hls", "work"):
        (tmp_path / name).mkdir()
    settings = PostgresSettings(postgres_dsn=database.dsn)
    async with open_pool(settings, schema="archive") as pool, DiskObjects(tmp_path / "objects") as objects:
        yield House(pool, objects, tmp_path / "hls", tmp_path / "work")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """8 s of 720p in four segments."""
    return make_clip(tmp_path_factory.mktemp("clips") / "large")


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """4 s of 240p in two segments: too small for any ladder, and quick to make."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small", seconds=4, size="320x240", rate=15)
