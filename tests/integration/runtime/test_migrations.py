"""Migrations on a real server: once each, in order, by one process; edited files and stale schemas are refused."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from runtime.migrations import (
    SCHEMAS,
    MigrationEdited,
    MigrationFailed,
    MigrationMisnamed,
    StaleSchema,
    migrate,
    migrations_of,
    require_migrated,
)
from runtime.postgres import Pool, connect, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database


class Source:
    """A package with migrations, made for one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name / "sql" / "migrations"
        self.folder.mkdir(parents=True)
        (folder / name / "__init__.py").touch()

    def write(self, file: str, sql: str) -> None:
        """Write a migration."""
        (self.folder / file).write_text(sql)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A package whose name no other test has."""
    monkeypatch.syspath_prepend(tmp_path)
    return Source(tmp_path, f"made_{tmp_path.name.replace('-', '_')}")


async def _tables(database: Database, schema: str) -> set[str]:
    connection = await connect(database.dsn, schema=schema)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_files_are_applied_once_in_the_order_of_their_numbers(empty_database: Database, source: Source) -> None:
    source.write("0002_second.sql", "ALTER TABLE things ADD COLUMN name text;")
    source.write("0001_first.sql", "CREATE TABLE things (id int);")
    said: list[str] = []
    schemas = {"odd": (source.name,)}
    applied = await migrate(empty_database.dsn, say=said.append, schemas=schemas)
    assert [one.migration for one in applied] == [f"{source.name}/0001_first", f"{source.name}/0002_second"]
    assert said == [f"odd: applied {one.migration}" for one in applied]
    assert await migrate(empty_database.dsn, schemas=schemas) == []
    source.write("0003_third.sql", "DROP TABLE things;")
    assert len(await migrate(empty_database.dsn, schemas=schemas)) == 1
    assert await _tables(empty_database, "odd") == {"applied_migrations"}


async def test_of_processes_that_migrate_at_once_one_does_the_work(empty_database: Database, source: Source) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int); SELECT pg_sleep(0.1);")
    runs = await asyncio.gather(*(migrate(empty_database.dsn, schemas={"odd": (source.name,)}) for _ in range(5)))
    assert sorted(len(applied) for applied in runs) == [0, 0, 0, 0, 1]


async def test_a_failing_file_leaves_nothing_of_it_and_keeps_what_came_before(
    empty_database: Database, source: Source
) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int);")
    source.write("0002_second.sql", "CREATE TABLE more (id int); SELECT 1 / 0;")
    with pytest.raises(MigrationFailed, match=r"0002_second failed in schema odd: division by zero"):
        await migrate(empty_database.dsn, schemas={"odd": (source.name,)})
    assert await _tables(empty_database, "odd") == {"applied_migrations", "things"}
    source.write("0002_second.sql", "CREATE TABLE more (id int);")
    assert len(await migrate(empty_database.dsn, schemas={"odd": (source.name,)})) == 1


async def test_an_edited_file_is_refused(empty_database: Database, source: Source) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int);")
    await migrate(empty_database.dsn, schemas={"odd": (source.name,)})
    source.write("0001_first.sql", "CREATE TABLE things (id bigint);")
    with pytest.raises(MigrationEdited, match="write a new one instead"):
        await migrate(empty_database.dsn, schemas={"odd": (source.name,)})


async def test_a_file_may_run_without_a_transaction(empty_database: Database, source: Source) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int);")
    concurrently = "CREATE INDEX CONCURRENTLY things_id ON things (id);"
    source.write("0002_index.sql", concurrently)
    with pytest.raises(MigrationFailed, match="cannot run inside a transaction block"):
        await migrate(empty_database.dsn, schemas={"odd": (source.name,)})
    source.write("0002_index.sql", f"-- no transaction\n{concurrently}")
    assert len(await migrate(empty_database.dsn, schemas={"odd": (source.name,)})) == 1


async def test_an_index_that_was_half_built_is_built_anew(empty_database: Database, source: Source) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int); INSERT INTO things VALUES (1), (1);")
    index = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_id ON things (id);"
    source.write("0002_index.sql", f"-- no transaction\n{index}")
    with pytest.raises(MigrationFailed, match="could not create unique index"):
        await migrate(empty_database.dsn, schemas={"odd": (source.name,)})
    connection = await connect(empty_database.dsn, schema="odd")
    try:
        await connection.execute("DELETE FROM things")
        assert len(await migrate(empty_database.dsn, schemas={"odd": (source.name,)})) == 1
        row = await connection.fetchrow("SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_id'::regclass")
        assert row is not None
        assert row["indisvalid"]
    finally:
        await connection.close()


async def test_one_source_may_serve_many_schemas(empty_database: Database, source: Source) -> None:
    source.write("0001_first.sql", "CREATE TABLE things (id int);")
    applied = await migrate(empty_database.dsn, schemas={"odd": (source.name,), "even": (source.name, "absent")})
    assert [one.schema for one in applied] == ["odd", "even"]
    assert await _tables(empty_database, "even") == {"applied_migrations", "things"}


@pytest.mark.parametrize(
    ("files", "message"),
    [(["1_first.sql"], "must be NNNN_lower_case"), (["0001_a.sql", "0001_b.sql"], "0001 is there twice")],
)
def test_misnamed_files_are_told(source: Source, files: list[str], message: str) -> None:
    for file in files:
        source.write(file, "SELECT 1;")
    with pytest.raises(MigrationMisnamed, match=message):
        migrations_of((source.name,))


async def _pool_is_migrated(database: Database, schema: str) -> None:
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema=schema) as pool:
        await require_migrated(pool, schema=schema)


async def test_a_stale_schema_is_refused_with_the_next_step(empty_database: Database) -> None:
    with pytest.raises(StaleSchema, match=r"accounts/0001_accounts.*: run `livestream migrate`"):
        await _pool_is_migrated(empty_database, "accounts")
    await migrate(empty_database.dsn)
    for schema in SCHEMAS:
        await _pool_is_migrated(empty_database, schema)
    connection = await connect(empty_database.dsn, schema="accounts")
    await connection.execute("DELETE FROM applied_migrations WHERE source = 'accounts'")
    with pytest.raises(StaleSchema):
        await _pool_is_migrated(empty_database, "accounts")
    await connection.execute("INSERT INTO applied_migrations VALUES ('accounts', 1, 'accounts', 'other')")
    with pytest.raises(MigrationEdited):
        await _pool_is_migrated(empty_database, "accounts")
    await connection.close()


async def test_connections_see_their_schema_alone_and_are_bounded(database: Database) -> None:
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_command_timeout_seconds=2)
    async with open_pool(settings, schema="accounts") as pool:
        assert await _shown(pool, "search_path") == "accounts"
        assert await _shown(pool, "statement_timeout") == "2s"
        assert await _shown(pool, "idle_in_transaction_session_timeout") == "10s"
        assert await _shown(pool, "application_name") == "livestream-accounts"
        with pytest.raises(asyncpg.UndefinedTableError):
            await pool.fetch("SELECT * FROM streams")
        with pytest.raises((TimeoutError, asyncpg.QueryCanceledError)):
            await pool.execute("SELECT pg_sleep(30)")


async def _shown(pool: Pool, setting: str) -> str:
    value: str = await pool.fetchval(f"SHOW {setting}")
    return value
