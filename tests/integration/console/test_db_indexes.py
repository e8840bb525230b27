"""`livestream db indexes`: every index with its query and its use; and that the query's plan does use the index."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest
from typer.testing import CliRunner

from console.__main__ import app
from console.db.declared import DeclaredIndex, indexes_of_schema, queries_for
from console.db.used import IndexUse
from runtime.migrations import SCHEMAS
from tests.engines import Database

if TYPE_CHECKING:
    Session: TypeAlias = asyncpg.Connection[asyncpg.Record]

Told: TypeAlias = Any
"""What the verb writes as JSON."""

NOT_IN_THE_PLAN = {
    "refresh_tokens_session_id": "the cascade of a foreign key looks rows up, which no plan shows",
    "resting_names_user_id": "the cascade of a foreign key looks rows up, which no plan shows",
    "signing_keys_one_current": "it refuses a second row; nothing is looked up by it",
    "held_that_expire": "of an empty table the other index over what waits costs the same",
    "log_deletions_of": "of an empty table the primary key costs the same",
    "mail_verification_tokens_of": "of an empty table the primary key costs the same",
    "webhook_messages_undelivered": "of an empty table the primary key costs the same",
    "messages_by_words": "of an empty table the other indexes of a room's messages cost less",
    "recordings_warm": "of an empty table the index over what is kept costs the same",
}
"""Indexes that the plan on empty tables cannot show, with the reason."""

PLANNING = {"enable_seqscan": "off", "enable_sort": "off", "plan_cache_mode": "force_generic_plan"}

VALUES = {
    "uuid": "'ffffffff-ffff-7fff-bfff-ffffffffffff'",
    "timestamp with time zone": "now()",
    "timestamp without time zone": "localtimestamp",
    "interval": "'1 day'",
    "boolean": "true",
    "bytea": "''",
    "text": "'a'",
    "jsonb": "'{}'",
    "date": "current_date",
    "time without time zone": "'12:00'",
    "tsquery": "'a'",
}
"""By type, for parameters: of nulls, partitions are left out of the plan."""


def value_of(kind: str) -> str:
    """Some value of a type."""
    return "'{}'" if kind.endswith("[]") else VALUES.get(kind, "1")


async def plan_of(connection: Session, package: str, name: str) -> str:
    """The plan of a query for parameters that are not known yet, if rows cannot be read one after another."""
    query = queries_for(package)[name]
    await connection.execute(f"prepare asked as {query.sql}")
    try:
        types = await connection.fetchval("select parameter_types::text[] from pg_prepared_statements")
        values = ", ".join(f"{value_of(one)}::{one}" for one in types)
        rows = await connection.fetch("explain (costs off) execute asked" + (f"({values})" if types else ""))
    finally:
        await connection.execute("deallocate asked")
    return "\n".join(row[0] for row in rows)


async def indexes_used(connection: Session, schema: str, plan: str) -> set[str]:
    """The indexes that a plan names; of a partition, its table's."""
    rows = await connection.fetch(
        "with recursive tree as ("
        " select i.indexrelid as root, i.indexrelid as member from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where c.relnamespace = $1::regnamespace and not c.relispartition"
        " union all select root, inhrelid from tree join pg_inherits on inhparent = member)"
        " select r.relname as root, m.relname as member from tree"
        " join pg_class r on r.oid = root join pg_class m on m.oid = member",
        schema,
    )
    words = set(re.findall(r"\w+", plan))
    return {row["root"] for row in rows if row["member"] in words}


async def is_asked_within_a_function(connection: Session, index: DeclaredIndex) -> bool:
    """Whether a query of the index calls a function that reads the index's table, which a plan does not look into."""
    rows = await connection.fetch(
        "select proname, prosrc from pg_proc where pronamespace = current_schema()::regnamespace"
    )
    reading = {index.table}
    for _ in rows:  # functions call functions
        wanted = re.compile(rf"\b({'|'.join(reading)})\b")
        more = {row["proname"] for row in rows if wanted.search(row["prosrc"])} - reading
        if not more:
            break
        reading |= more
    texts = "\n".join(queries_for(index.package)[name].sql for name in index.queries)
    return bool((reading - {index.table}) & set(re.findall(r"\w+", texts)))


@pytest.fixture
def told(database: Database, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the verb says of a database in which nothing was counted yet."""
    monkeypatch.setenv("LIVESTREAM_POSTGRES_DSN", database.url)
    done = CliRunner().invoke(app, ("db", "indexes", "--json"))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])  # slow queries are logged there, too


def test_every_index_is_told_with_its_query_and_partitions_as_one(told: Told) -> None:
    found = {f"{one['schema']}.{one['index']}": one for one in told["indexes"]}
    assert all(one["key"] or one["serves"] for one in told["indexes"])
    assert all(one["ours"] for one in told["indexes"])
    assert told["missing"] == told["unused"] == [], "an index that was made a minute ago is not unused"
    streams = found["streaming.streams_status_started"]
    assert streams["serves"] == ["list_live_streams"]
    assert streams["partitions"] >= 1
    assert {one["schema"] for one in told["indexes"]} == set(SCHEMAS)
    wanted = {f"{schema}.{name}" for schema in SCHEMAS for name in indexes_of_schema(schema)}
    assert wanted <= set(found)


@pytest.mark.parametrize(
    ("scans", "is_key", "days", "use"),
    [(1, False, 90, "used"), (0, True, 90, "rule"), (0, False, 29, "young"), (0, False, 31, "unused")],
)
def test_what_counts_as_unused(scans: int, is_key: bool, days: int, use: str) -> None:
    now = datetime(2026, 6, 15, tzinfo=UTC)
    since = now - timedelta(days=days)
    index = IndexUse("streaming", "streams", "an_index", is_key, False, 1, scans, 8_192, since, None)
    assert index.use(now, after=timedelta(days=30)) == use


async def not_used(connection: Session, schema: str) -> list[str]:
    """The indexes of a schema that no plan of a query that they serve uses."""
    useless = []
    for name, index in indexes_of_schema(schema).items():
        plans = [await plan_of(connection, index.package, query) for query in index.queries]
        used = [name in await indexes_used(connection, schema, plan) for plan in plans]
        if not any(used) and name not in NOT_IN_THE_PLAN and not await is_asked_within_a_function(connection, index):
            useless.append(f"{schema}.{name}, for {', '.join(index.queries)}")
    return useless


async def test_the_plan_of_a_query_that_an_index_serves_uses_it(database: Database) -> None:
    """On empty tables, and told not to read them row after row: that an index fits, not that it is the best."""
    useless = []
    for schema in SCHEMAS:
        connection = await asyncpg.connect(
            database.url, statement_cache_size=0, server_settings={"search_path": schema, **PLANNING}
        )
        try:
            useless += await not_used(connection, schema)
        finally:
            await connection.close()
    assert not useless
