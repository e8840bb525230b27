"""Groups on Postgres as operators meet them: what is kept for the slowest, the alarm, the commands."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zlib import crc32

import asyncpg
import pytest
from structlog.testing import capture_logs
from typer import Typer
from typer.testing import CliRunner, Result

from console import dead_letters, groups, topics
from eventbus import bus_postgres, metrics
from eventbus.bus import Message, Partition
from eventbus.dead_letters import REPLAY_GROUP, dead_letter_record
from eventbus.group_backlog import BacklogWatch
from eventbus.outbox import Outbox
from eventbus.sequencer import LogHousekeeping
from eventbus.settings import BusSettings
from events import TOPICS
from events.topics import ACCOUNTS, STREAMS
from runtime.postgres import Pool, connect
from tests.engines import Database
from tests.integration.eventbus.conftest import SCHEMA
from tests.integration.eventbus.saying import running
from tests.turns_of_the_clock import not_at_the_turn_of

GROUP = "tips-streams"
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Shell:
    """The command line on the test's database."""

    database: Database

    def run(self, *arguments: str, app: Typer = groups.app, backend: str = "postgres") -> Result:
        environment: dict[str, str | None] = {
            **{name: None for name in os.environ if name.startswith("LIVESTREAM_")},
            "LIVESTREAM_POSTGRES_DSN": self.database.url,
            "LIVESTREAM_BUS_BACKEND": backend,
        }
        return CliRunner().invoke(app, arguments, env=environment)

    def last_line(self, *arguments: str) -> str:
        """Of standard output, to which a slow machine's slow queries are logged here, too."""
        return self.run(*arguments).stdout.splitlines()[-1]


@pytest.fixture
def shell(database: Database) -> Shell:
    return Shell(database)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """As the leading relay has it."""
    opened = await connect(database.dsn, schema=SCHEMA)
    yield opened
    await opened.close()


async def place_cursor(pool: Pool, next_offset: int, *, group: str = GROUP) -> None:
    """A group that has read all of its partitions up to the same offset, and has gone."""
    await pool.execute(
        "INSERT INTO bus.group_cursor (group_name, topic, partition, next_offset)"
        " SELECT $1, $2, number, $3 FROM generate_series(0, $4) AS number"
        " ON CONFLICT (group_name, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
        group,
        STREAMS.name,
        next_offset,
        STREAMS.partitions - 1,
    )


async def old_event(pool: Pool, created_at: str) -> int:
    event_id: int = await pool.fetchval(
        "INSERT INTO outbox (topic, key, headers, data, created_at) VALUES ($1, 'k', '{}', 'd', $2) RETURNING id",
        STREAMS.name,
        datetime.fromisoformat(created_at),
    )
    await pool.execute("UPDATE outbox_cursor SET id = $1", event_id)
    return event_id


async def partitions(pool: Pool) -> set[str]:
    rows = await pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'outbox'::regclass"
    )
    return {row["name"] for row in rows}


async def test_an_outbox_partition_stays_until_the_slowest_group_has_read_it(
    pool: Pool, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await pool.execute(
        "CREATE TABLE outbox_20200101 PARTITION OF outbox FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')"
    )
    first, last = [await old_event(pool, f"2020-01-01 1{hour}:00Z") for hour in range(2)]
    await place_cursor(pool, last + 1, group="quick")
    await place_cursor(pool, last)
    await LogHousekeeping(SCHEMA, [STREAMS]).when_due(connection)
    assert "outbox_20200101" in await partitions(pool), "published, old, and read by one group of two"
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 2
    await place_cursor(pool, last + 1)
    await LogHousekeeping(SCHEMA, [STREAMS]).when_due(connection)
    assert "outbox_20200101" not in await partitions(pool)
    assert first < last


async def test_an_outbox_partition_stays_for_the_retention_of_its_topics(
    pool: Pool, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await not_at_the_turn_of(DAY_SECONDS)
    day = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date") - STREAMS.retention
    await pool.execute(
        f"CREATE TABLE outbox_{day:%Y%m%d} PARTITION OF outbox"
        f" FOR VALUES FROM ('{day}Z') TO ('{day + timedelta(days=1)}Z')"
    )
    last = await old_event(pool, f"{day} 12:00Z")
    await place_cursor(pool, last + 1)
    await LogHousekeeping(SCHEMA, [STREAMS]).when_due(connection)
    assert f"outbox_{day:%Y%m%d}" in await partitions(pool), "a group that begins today may want it"
    await LogHousekeeping(SCHEMA, []).when_due(connection)
    assert f"outbox_{day:%Y%m%d}" not in await partitions(pool), "an outbox without topics has no such readers"


async def test_the_default_partition_is_kept_for_the_slowest_group_too(
    pool: Pool, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    first, last = [await old_event(pool, f"2019-05-05 1{hour}:00Z") for hour in range(2)]
    await place_cursor(pool, last)
    await LogHousekeeping(SCHEMA, [STREAMS]).when_due(connection)
    assert [row["id"] for row in await pool.fetch("SELECT id FROM outbox_default")] == [last]
    assert first < last


async def test_a_group_that_falls_behind_is_alarmed(
    pool: Pool, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await place_cursor(pool, await old_event(pool, "2020-01-01 12:00Z"))
    with capture_logs() as lines:
        await BacklogWatch(SCHEMA, [STREAMS]).when_due(connection)
    [line] = [line for line in lines if line["event"] == "group_behind"]
    assert (line["group"], line["topic"], line["log_level"]) == (GROUP, STREAMS.name, "error")
    assert line["oldest_seconds"] > timedelta(days=365).total_seconds()
    gauge = metrics.group_oldest_unread_seconds.labels(GROUP, STREAMS.name)
    assert gauge._value.get() > timedelta(days=365).total_seconds()


async def test_a_group_that_has_read_everything_is_not_alarmed(
    pool: Pool, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    last = await old_event(pool, "2020-01-01 12:00Z")
    await place_cursor(pool, last)
    await pool.execute("UPDATE bus.group_cursor SET next_offset = $1 WHERE partition = $2", last + 1, _partition_of_k())
    with capture_logs() as lines:
        await BacklogWatch(SCHEMA, [STREAMS]).when_due(connection)
    assert [line for line in lines if line["event"] == "group_behind"] == []


def _partition_of_k() -> int:
    return crc32(b"k") % STREAMS.partitions


async def test_groups_are_listed_and_forgotten_unless_a_member_lives(
    shell: Shell, pool: Pool, settings: BusSettings
) -> None:
    assert await asyncio.to_thread(shell.last_line, "list", "--json") == "[]"
    await place_cursor(pool, await old_event(pool, "2020-01-01 12:00Z"))
    listed = await asyncio.to_thread(shell.run, "list", "--json")
    assert listed.exit_code == 3, "somebody is far behind"
    [row] = json.loads(listed.stdout.splitlines()[-1])
    assert (row["group"], row["topic"], row["worked_on"], row["partitions"]) == (GROUP, STREAMS.name, 0, 6)
    async with bus_postgres.open_bus(settings) as bus, bus.consumer("alive", [ACCOUNTS.name], _Deaf()):
        refused = await asyncio.to_thread(shell.run, "forget", "alive")
        assert (refused.exit_code, "a member of alive lives" in refused.output) == (1, True)
    forgotten = await asyncio.to_thread(shell.last_line, "forget", GROUP, "--json")
    assert json.loads(forgotten) == {"group": GROUP, "partitions": 6}
    assert (await asyncio.to_thread(shell.run, "forget", GROUP)).exit_code == 1
    left = await pool.fetch("SELECT DISTINCT group_name FROM bus.group_cursor")
    assert [row["group_name"] for row in left] == ["alive"]


def test_on_kafka_the_commands_say_whose_groups_they_are(shell: Shell) -> None:
    result = shell.run("list", backend="kafka")
    assert (result.exit_code, "kafka-consumer-groups.sh" in result.output) == (1, True)


def test_on_postgres_there_are_no_topics_to_make(shell: Shell) -> None:
    made = shell.run("create", "--json", app=topics.app)
    assert made.exit_code == 0
    assert [row["topic"] for row in json.loads(made.stdout.splitlines()[-1])] == [topic.name for topic in TOPICS]
    assert "nothing to make" in shell.run("create", app=topics.app).output
    assert shell.run("list", app=topics.app).exit_code == 0


async def test_dead_letters_are_listed_and_replayed_on_postgres_too(
    shell: Shell, pool: Pool, settings: BusSettings, outbox: Outbox, database: Database
) -> None:
    original = Message(
        STREAMS.name, b"key", b'{"a":1}\xff', (("ce_type", b"stream.started"), ("odd", b"\xfe")), 2, 41, 0
    )
    letter = dead_letter_record(original, group=GROUP, error=ValueError("no"), attempts=5, at=datetime.now(UTC))
    async with bus_postgres.open_bus(settings) as bus:
        await bus.publish([letter])
        [listed] = await asyncio.to_thread(_letters, shell)
        assert (listed["topic"], listed["offset"], listed["error"]) == (STREAMS.name, 41, "ValueError")
        replayed = await asyncio.to_thread(shell.run, "replay", str(listed["id"]), app=dead_letters.app)
        assert replayed.exit_code == 0, replayed.output
        async with running(bus.relay(database.dsn, outbox, schema=SCHEMA).run()):
            [message] = [message async for message in bus.read(STREAMS.name)]
        assert (message.key, message.value) == (original.key, original.value)
        assert message.headers == (*original.headers, (REPLAY_GROUP, GROUP.encode()))
        assert await asyncio.to_thread(_letters, shell) == []


def _letters(shell: Shell) -> list[dict[str, object]]:
    # The bus of the test logs to the same standard output, before the command's answer or after it.
    lines = shell.run("list", "--json", app=dead_letters.app).stdout.splitlines()
    [letters] = [json.loads(line) for line in lines if line.startswith("[")]
    assert isinstance(letters, list)
    return letters


class _Deaf:
    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Nothing."""

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """Nothing."""


@pytest.fixture
def settings(database: Database) -> BusSettings:
    return BusSettings(bus_backend="postgres", postgres_dsn=database.dsn)
