"""Migrations: numbered SQL files per schema, applied once, in order, under one lock; processes refuse a stale schema.

A file is `<package>/sql/migrations/NNNN_name.sql`. It runs in a transaction, unless its first line is
`-- no transaction` (then it holds a single statement, such as CREATE INDEX CONCURRENTLY). An applied file may never be
edited.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg
import structlog
from pydantic import SecretStr

from runtime.backoff import Backoff
from runtime.postgres import CONNECT_TIMEOUT_SECONDS, Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from runtime.waiting import wait_for

log = structlog.get_logger(__name__)

# Each schema with the packages whose migrations make it, in the order of their application.
SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("eventbus", "accounts"),
    "streaming": ("eventbus", "streaming"),
    "chat": ("eventbus", "chat"),
    "notify": ("eventbus", "notify"),
    "archive": ("eventbus", "archive"),
    "bus": ("eventbus", "eventbus.groups"),
}

NO_TRANSACTION = "-- no transaction"
ADVISORY_LOCK = 0x4C_69_76_65_53_74_72_6D  # "LiveStrm": one migration run at a time in a database
ADVISORY_LOCK_WAIT_SECONDS = 120
TABLE_LOCK_WAIT_SECONDS = 5  # old code is running: rather fail and be repeated than hold up everybody behind a lock
STATEMENT_SECONDS_MAX = 3600.0
MIGRATED_POLL_FIRST_SECONDS = 0.2
MIGRATED_POLL_CEILING_SECONDS = 3.0

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_HALF_BUILT_INDEXES = """
SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT c.relispartition AND c.relnamespace = $1::text::regnamespace
"""


class MigrationError(Exception):
    """Base of what goes wrong with migrations.

    MigrationError
    ├── MigrationMisnamed  a file is not NNNN_name.sql, or a number is there twice
    ├── MigrationEdited    an applied file has changed since
    ├── MigrationFailed    its SQL failed; nothing of it is applied (unless it runs without a transaction)
    └── StaleSchema        the database lacks migrations that this code needs
    """


class MigrationMisnamed(MigrationError):
    """A migration file's name does not say which it is."""


class MigrationEdited(MigrationError):
    """An applied migration differs from its file; `migration` names it."""

    def __init__(self, schema: str, migration: str) -> None:
        super().__init__(f"{migration} was edited after it was applied to schema {schema}; write a new one instead")
        self.schema = schema
        self.migration = migration


class MigrationFailed(MigrationError):
    """The SQL of `migration` failed; Postgres' reason is the cause."""

    def __init__(self, schema: str, migration: str, reason: str) -> None:
        super().__init__(f"{migration} failed in schema {schema}: {reason}")
        self.schema = schema
        self.migration = migration


class StaleSchema(MigrationError):
    """The database lacks `missing`; `livestream migrate` applies them."""

    def __init__(self, schema: str, missing: list[str]) -> None:
        super().__init__(f"schema {schema} lacks {', '.join(missing)}: run `livestream migrate`")
        self.schema = schema
        self.missing = missing


@dataclass(frozen=True)
class Migration:
    """One file: where it is from (`source`, a package), its number and name, and what it says."""

    source: str
    number: int
    name: str
    sql: str

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.source}/{self.number:04}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def in_transaction(self) -> bool:
        """Whether all of it happens or nothing."""
        return self.sql.split("\n", 1)[0].strip().lower() != NO_TRANSACTION


@dataclass(frozen=True)
class Applied:
    """What `migrate` did: a migration in a schema."""

    schema: str
    migration: str


def migrations_of(sources: tuple[str, ...]) -> list[Migration]:
    """All migrations of the packages in `sources`, in the order of application; a package may have none (yet)."""
    return [migration for source in sources for migration in _read_source(source)]


async def migrate(
    dsn: SecretStr,
    *,
    say: Callable[[str], None] = lambda _line: None,
    schemas: Mapping[str, tuple[str, ...]] = SCHEMAS,
) -> list[Applied]:
    """Bring every schema of the database up to date; waits for the server. `say` gets a line for each step.

    Any number of processes may do this at once: one does the work, the others find it done. Raises MigrationError.
    """
    connection = await wait_for("postgres", lambda: _connect(dsn))
    try:
        await connection.execute(f"SET lock_timeout = '{ADVISORY_LOCK_WAIT_SECONDS}s'")
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        await connection.execute(f"SET lock_timeout = '{TABLE_LOCK_WAIT_SECONDS}s'")
        applied = []
        for schema, sources in schemas.items():
            async for migration in _migrate_schema(connection, schema, sources):
                say(f"{schema}: applied {migration.label}")
                applied.append(Applied(schema, migration.label))
        return applied
    finally:
        await connection.close()  # which gives the lock back


async def require_migrated(pool: Pool, *, schema: str) -> None:
    """Return when `schema` has every migration that this code knows; else raise StaleSchema or MigrationEdited.

    A database that is further on than the code is fine: migrations are additive, and roll-outs run old code beside new.
    """
    known = migrations_of(SCHEMAS[schema])
    done: dict[tuple[str, int], str] = {}
    with suppress(asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        done = _by_key(await pool.fetch("SELECT source, number, checksum FROM applied_migrations"))
    missing = _missing(schema, known, done)
    if missing:
        raise StaleSchema(schema, [migration.label for migration in missing])


async def wait_until_migrated(pool: Pool, *, schema: str) -> None:
    """Return when `schema` is migrated; until then say what is waited for. Raises MigrationEdited.

    A process never serves on a stale schema, and needs no restart once somebody has run `livestream migrate`.
    """
    backoff = Backoff(MIGRATED_POLL_FIRST_SECONDS, MIGRATED_POLL_CEILING_SECONDS)
    while True:
        try:
            await require_migrated(pool, schema=schema)
            return
        except StaleSchema as stale:
            log.warning("waiting_for_migrations", schema=schema, missing=len(stale.missing), reason=str(stale))
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("waiting_for_migrations", schema=schema, reason=str(error) or type(error).__name__)
        await backoff.wait()


async def _migrate_schema(
    connection: "asyncpg.Connection[asyncpg.Record]", schema: str, sources: tuple[str, ...]
) -> AsyncIterator[Migration]:
    quoted = '"' + schema.replace('"', '""') + '"'
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
    await connection.execute(f"SET search_path = {quoted}")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS applied_migrations ("
        " source text NOT NULL, number integer NOT NULL, name text NOT NULL, checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (source, number))"
    )
    done = _by_key(await connection.fetch("SELECT source, number, checksum FROM applied_migrations"))
    for migration in _missing(schema, migrations_of(sources), done):
        await _apply(connection, schema, migration)
        yield migration


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, migration: Migration) -> None:
    record = (
        "INSERT INTO applied_migrations (source, number, name, checksum) VALUES ($1, $2, $3, $4)",
        migration.source,
        migration.number,
        migration.name,
        migration.checksum,
    )
    try:
        if migration.in_transaction:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(*record)
        else:
            await _drop_half_built_indexes(connection, schema)
            await connection.execute(migration.sql)
            await connection.execute(*record)
    except asyncpg.PostgresError as error:
        raise MigrationFailed(schema, migration.label, str(error)) from error


async def _drop_half_built_indexes(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
    """Remove what a CREATE INDEX CONCURRENTLY leaves that gave up: IF NOT EXISTS would take it for the whole index."""
    for row in await connection.fetch(_HALF_BUILT_INDEXES, schema):
        await connection.execute(f"DROP INDEX CONCURRENTLY {row['name']}")


def _missing(schema: str, known: Sequence[Migration], done: Mapping[tuple[str, int], str]) -> list[Migration]:
    missing = []
    for migration in known:
        checksum = done.get((migration.source, migration.number))
        if checksum is None:
            missing.append(migration)
        elif checksum != migration.checksum:
            raise MigrationEdited(schema, migration.label)
    return missing


def _by_key(rows: Iterable[asyncpg.Record]) -> dict[tuple[str, int], str]:
    return {(row["source"], row["number"]): row["checksum"] for row in rows}


def _read_source(source: str) -> Iterator[Migration]:
    numbers = set()
    for file in sorted(_files(source), key=lambda one: one.name):
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationMisnamed(f"{source}/sql/migrations/{file.name}: the name must be NNNN_lower_case.sql")
        number = int(match[1])
        if number in numbers:
            raise MigrationMisnamed(f"{source}/sql/migrations: number {number:04} is there twice")
        numbers.add(number)
        yield Migration(source, number, match[2], file.read_text(encoding="utf-8"))


def _files(source: str) -> list[Traversable]:
    try:
        folder = resources.files(source).joinpath("sql", "migrations")
    except ModuleNotFoundError:
        return []
    return [file for file in folder.iterdir() if file.name.endswith(".sql")] if folder.is_dir() else []


async def _connect(dsn: SecretStr) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        dsn.get_secret_value(),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=STATEMENT_SECONDS_MAX,
        server_settings={"application_name": "livestream-migrate", "timezone": "UTC"},
    )
