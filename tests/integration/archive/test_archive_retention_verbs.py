"""`livestream retention` and `livestream capacity --measured` against a real database and a store on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from archive.objects.keys import SEGMENT
from console.__main__ import app
from runtime.ids import uuid7
from runtime.objects_disk import DiskObjects
from tests.engines import Database

CHANNEL, OTHER = uuid7(), uuid7()
Livestream = Callable[..., Result]


@pytest.fixture
def livestream(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Livestream:
    """Runs a verb in this process, on the test's database and store."""
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", database.url)
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_OBJECT_STORE", "disk")
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_DISK_DIRECTORY", str(tmp_path / "objects"))

    def run(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(app, arguments, input=typed)
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture
def recordings(database: Database, tmp_path: Path) -> dict[str, UUID]:
    """An old one, an old one of another channel, a new one, and one whose undo period is over; each with an object."""
    now = datetime.now(UTC)
    ages = {"old": (CHANNEL, 2_000), "other": (OTHER, 2_000), "new": (CHANNEL, 3), "deleted": (CHANNEL, 10)}
    found = {name: uuid7() for name in ages}

    async def make() -> None:
        connection = await asyncpg.connect(database.url, server_settings={"search_path": "archive"})
        async with DiskObjects(tmp_path / "objects") as objects:
            for name, (channel_id, days) in ages.items():
                at = now - timedelta(days=days)
                await connection.execute(
                    "insert into recordings (stream_id, channel_id, status, started_at, ended_at, settled_at,"
                    " published_at, completed_at, duration_ms, size_bytes, deleted_at, purge_due_at, delete_reason)"
                    " values ($1, $2, 'completed', $3, $3, $3, $3, $3, 7200000, 5, $4, $4, $5)",
                    found[name],
                    channel_id,
                    at,
                    *((at, "owner") if name == "deleted" else (None, None)),
                )
                await connection.execute("insert into segments values ($1, 0, 1, 5, false)", found[name])
                for key in (f"{found[name]}/source/0.ts", f"{found[name]}/master.m3u8"):
                    await objects.put_bytes(key, b"media", SEGMENT)
        await connection.close()

    asyncio.run(make())
    return found


def counted(done: Result) -> dict[tuple[str, str | None], int]:
    """Actions of a plan by channel."""
    actions = json.loads(done.stdout)["services"]["archive"]["actions"]
    return {(one["action"], one["channel_id"]): one["count"] for one in actions}


def test_plan_hold_override_and_apply(livestream: Livestream, recordings: dict[str, UUID]) -> None:
    mine, other = str(CHANNEL), str(OTHER)
    done = livestream("retention", "plan", "--json")
    assert counted(done) == {("delete", mine): 1, ("delete", other): 1, ("purge", mine): 1}
    assert json.loads(done.stdout)["freed_bytes"] == 5
    assert "nothing is cooled" in done.stdout
    hold_id = json.loads(livestream("retention", "hold", "--channel", mine, "--reason", "a court", "--json").stdout)[
        "hold_id"
    ]
    livestream("retention", "override", other, "--delete-after", "never")
    done = livestream("retention", "plan", "--json")
    assert counted(done) == {}
    held = json.loads(done.stdout)["services"]["archive"]["held"]
    assert {(one["action"], one["count"]) for one in held} == {("delete", 1), ("purge", 1)}
    assert "a court" in livestream("retention", "holds").stdout
    livestream("retention", "apply", "--yes")
    livestream("retention", "release", hold_id, "--by", "ada")
    livestream("retention", "release", hold_id, code=1)
    assert json.loads(livestream("retention", "holds", "--all", "--json").stdout)[0]["released_by"] == "ada"
    livestream("retention", "apply", code=1, typed="n\n")
    done = livestream("retention", "apply", "--yes", "--json")
    assert counted(done) == {("delete", mine): 1, ("purge", mine): 1}
    assert counted(livestream("retention", "plan", "--json")) == {}
    livestream("retention", "override", other, "--delete-after", "default")
    assert json.loads(livestream("retention", "override", "--json").stdout) == []
    text = livestream("retention", "plan", "--no-sweep").stdout
    assert "delete: 1 with 0.0 MB" in text
    assert "the store was not looked through" in text


def test_what_is_missing_ends_with_3(livestream: Livestream, recordings: dict[str, UUID], tmp_path: Path) -> None:
    (tmp_path / "objects" / str(recordings["new"]) / "master.m3u8").unlink()
    assert "1 objects are named and not there" in livestream("retention", "plan", code=3).stdout


def test_capacity_goes_on_from_what_is_measured(livestream: Livestream, recordings: dict[str, UUID]) -> None:
    told = json.loads(livestream("capacity", "--measured", "--months", "2", "--json").stdout)
    assert told["measured"]["hot_bytes"] == 20
    assert told["measured"]["growth_per_month"] is None
    first = told["months"][0]
    assert (first["streams"], first["made_bytes"]) == (2, 10), "two in the last 30 days, 5 bytes each"
    assert first["recordings"] == 4 + 2
    assert "20" not in livestream("capacity", "--measured", "--streams-a-day", "20").stdout.splitlines()[0]
