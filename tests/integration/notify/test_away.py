"""Whoever has done nothing for a year is silenced, in batches, once, told of it, and by nobody who only looks."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from console.__main__ import app
from notify.away import BATCH_PEOPLE_MAX, AwayWatch, Silenced, silence_the_away
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.notify.processes import Person, eventually, seed

YEAR = timedelta(days=365)
ADA, EVE = Person("ada"), Person("eve")
GONE = BATCH_PEOPLE_MAX * 2 + 7


@pytest.fixture
async def gone(pool: Pool) -> list[UUID]:
    """Followers of two channels who have not been here for very long; one follower has, and some follow nobody."""
    people = [uuid7() for _ in range(GONE)]
    here, alone = uuid7(), [uuid7() for _ in range(BATCH_PEOPLE_MAX)]
    for channel in (ADA, EVE):
        await seed(pool, channel, [*people, here])
    await pool.execute("INSERT INTO people SELECT id, 'alone' FROM unnest($1::uuid[]) AS id", alone)
    await pool.execute(
        "UPDATE people SET active_at = now() - interval '400 days' WHERE user_id = ANY($1)", [*people, *alone]
    )
    return people


async def silent(pool: Pool) -> tuple[int, int]:
    """People who are away, and follows that are silent."""
    people: int = await pool.fetchval("SELECT count(*) FROM people WHERE away_since IS NOT NULL")
    follows: int = await pool.fetchval("SELECT count(*) FROM follows WHERE is_silent")
    return people, follows


async def test_all_of_them_are_silenced_once_however_many_look(pool: Pool, gone: list[UUID]) -> None:
    told: list[UUID] = []

    async def tell(_: Connection, people: Sequence[UUID]) -> None:
        told.extend(people)

    looks = await asyncio.gather(*(silence_the_away(pool, after=YEAR, tell=tell) for _ in range(3)))
    again = await silence_the_away(pool, after=YEAR, tell=tell)
    assert sum(look.people for look in looks) + again.people == GONE
    assert await silent(pool) == (GONE, 2 * GONE)
    assert sorted(told) == sorted(gone)
    counts = await pool.fetch("SELECT followers, want_notices FROM follower_counts")
    assert [tuple(row) for row in counts] == [(GONE + 1, 1)] * 2


async def test_looking_alone_changes_nothing(pool: Pool, gone: list[UUID]) -> None:
    assert await silence_the_away(pool, after=YEAR, dry_run=True) == Silenced(len(gone), 2 * len(gone))
    assert await silence_the_away(pool, after=timedelta(days=401), dry_run=True) == Silenced()
    assert await AwayWatch(pool, after=YEAR, hold=True).look()
    assert await silent(pool) == (0, 0)


async def test_a_service_silences_by_itself(pool: Pool, gone: list[UUID]) -> None:
    watch = asyncio.create_task(AwayWatch(pool, after=YEAR, hold=False).run())

    async def done() -> bool:
        return await silent(pool) == (GONE, 2 * GONE)

    await eventually(done)
    watch.cancel()
    await asyncio.wait([watch])
    assert len(gone) == GONE


async def test_who_cannot_be_told_is_not_silenced(pool: Pool, gone: list[UUID]) -> None:
    async def fail(_: Connection, people: Sequence[UUID]) -> None:
        raise RuntimeError(f"{len(people)} of {len(gone)} not told")

    with pytest.raises(RuntimeError):
        await silence_the_away(pool, after=YEAR, tell=fail)
    assert await silent(pool) == (0, 0)


def test_the_command_counts_first_and_silences_then(database: Database) -> None:
    asyncio.run(one_is_gone(database))
    variables = {"LIVESTREAM_POSTGRES_DSN": database.dsn.get_secret_value()}

    def away(*arguments: str, **more: str) -> dict[str, Any]:
        ran = CliRunner().invoke(app, ["follows", "away", "--json", *arguments], env={**variables, **more})
        assert ran.exit_code == 0, ran.output
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    assert away("--dry-run") == {"people": 1, "follows": 1, "dry_run": True}
    assert away(LIVESTREAM_NOTIFY_AWAY_HOLD="true") == {"people": 1, "follows": 1, "dry_run": True}
    assert away("--dry-run", LIVESTREAM_NOTIFY_AWAY_AFTER_DAYS="500")["people"] == 0
    assert away() == {"people": 1, "follows": 1, "dry_run": False}
    assert away() == {"people": 0, "follows": 0, "dry_run": False}


async def one_is_gone(database: Database) -> None:
    person = uuid7()
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="notify") as pool:
        await seed(pool, ADA, [person])
        await pool.execute("UPDATE people SET active_at = now() - interval '400 days' WHERE user_id = $1", person)
