"""Every named query is prepared against the migrated schema, every index says which query it serves."""

import re
from pathlib import Path

import asyncpg
import pytest

from console.db.declared import declared_indexes
from runtime.migrations import SCHEMAS
from runtime.postgres import connect, load_queries
from runtime.schema_dump import dump_schema, schema_file
from tests.engines import Database

CHECKOUT = Path(__file__).parents[3]
PACKAGES = [name for name in ("eventbus", *SCHEMAS) if (CHECKOUT / name / "sql/queries.sql").exists()]


@pytest.mark.parametrize("package", PACKAGES)
async def test_every_query_can_be_prepared(package: str, database: Database) -> None:
    schema = package if package in SCHEMAS else "accounts"
    connection = await connect(database.dsn, schema=schema)
    failed = []
    try:
        for query in load_queries(package).all():
            try:
                await connection.prepare(query.sql)
            except asyncpg.PostgresError as error:
                failed.append(f"{query.name}: {error}")
    finally:
        await connection.close()
    assert not failed, failed


@pytest.mark.parametrize("package", PACKAGES)
def test_every_query_says_what_it_does(package: str) -> None:
    silent = [query.name for query in load_queries(package).all() if not query.doc.strip()]
    assert not silent, f"a line of description goes under the name: {silent}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_query_is_used(package: str) -> None:
    folders = [package, "eventbus", "console", "bench", "tests"]
    sources = "\n".join(path.read_text() for name in folders for path in (CHECKOUT / name).glob("**/*.py"))
    unused = [query.name for query in load_queries(package).all() if not re.search(rf"\.{query.name}\b", sources)]
    assert not unused, unused


def test_every_index_names_the_query_that_it_serves() -> None:
    mute, unknown = [], []
    for package in PACKAGES:
        for index in declared_indexes(package).values():
            label = f"{index.migration}: {index.name}"
            if index.comment is None:
                mute.append(label)
            elif not index.queries:
                unknown.append(f"{label} serves {index.comment!r}")
    assert not mute, f"`-- serves: query_name` goes above each CREATE INDEX: {mute}"
    assert not unknown, f"no such query: {unknown}"


async def test_indexes_are_found_in_the_migrations(database: Database) -> None:
    """The pattern above sees all indexes there are but those of keys and constraints."""
    declared = {index for package in PACKAGES for index in declared_indexes(package)}
    connection = await connect(database.dsn, schema="public")
    try:
        rows = await connection.fetch(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = ANY($1) AND NOT c.relispartition"
            " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)",
            list(SCHEMAS),
        )
    finally:
        await connection.close()
    assert {row["relname"] for row in rows} == declared


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_committed_schema_is_what_the_migrations_make(schema: str, database: Database) -> None:
    committed = CHECKOUT / schema_file(schema)
    assert committed.exists(), "run `make generate`"
    assert committed.read_text() == await dump_schema(database.dsn, schema), "run `make generate`"
