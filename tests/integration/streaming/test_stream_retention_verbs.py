"""`livestream retention` covers streams: the plan says so, a hold on a recording keeps its stream, apply acts."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from typer.testing import CliRunner

from console.__main__ import app
from runtime.ids import uuid7
from tests.engines import Database

Told: TypeAlias = Any
"""What a verb writes as JSON."""

DAYS = (1_000, 3_000, 3_000)
"""One to move, and two to move and go, of which one is held."""


def add_streams(url: str, now: datetime) -> list[UUID]:
    """Old streams of months that were never made."""

    async def add() -> list[UUID]:
        connection = await asyncpg.connect(url, server_settings={"search_path": "streaming"})
        stream_ids = []
        for days in DAYS:
            at = now - timedelta(days=days)
            stream_id = UUID(int=(int(at.timestamp() * 1_000) << 80) | (uuid7().int & ((1 << 80) - 1)))
            stream_ids.append(stream_id)
            await connection.execute(
                "insert into streams (stream_id, channel_id, title, status, started_at, ended_at, end_reason)"
                " values ($1, $2, 'a title', 'ended', $3, $3, 'streamer')",
                stream_id,
                uuid7(),
                at,
            )
        await connection.close()
        return stream_ids

    return asyncio.run(add())


def test_streams_are_planned_held_and_applied(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", database.url)
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_DISK_DIRECTORY", str(tmp_path / "objects"))

    def livestream(*arguments: str) -> Told:
        done = CliRunner().invoke(app, ("retention", *arguments, "--json"))
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def streams(told: Told) -> tuple[dict[str, int], dict[str, int]]:
        of_streams = told["services"]["streaming"]
        actions, held = of_streams["actions"], of_streams["held"]
        return {one["action"]: one["count"] for one in actions}, {one["action"]: one["count"] for one in held}

    now = datetime.now(UTC)
    kept = add_streams(database.url, now)[2]
    told = livestream("plan", "--no-sweep")
    assert streams(told) == ({"cool": 3, "purge": 2}, {})
    day = now - timedelta(days=3_000)
    assert any(f"from {day:%Y-%m-%d} to {day:%Y-%m-%d}" in note for note in told["services"]["streaming"]["notes"])
    hold_id = livestream("hold", "--recording", str(kept), "--reason", "a court")["hold_id"]
    assert streams(livestream("plan", "--no-sweep")) == ({"cool": 3, "purge": 1}, {"purge": 1})
    assert streams(livestream("apply", "--no-sweep", "--yes"))[0] == {"cool": 3, "purge": 1}
    assert streams(livestream("apply", "--no-sweep", "--yes"))[0] == {}
    livestream("release", hold_id)
    assert streams(livestream("apply", "--no-sweep", "--yes"))[0] == {"purge": 1}
