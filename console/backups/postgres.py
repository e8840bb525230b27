"""Postgres' own pg_dump and pg_restore, run on our schemas; the password is in no argument list."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from console.backups.errors import PostgresUnreachable, TargetNotEmpty, ToolFailed, ToolMissing
from runtime.migrations import SCHEMAS, migrations_of

VERSIONS_DIRECTORY = Path("/usr/lib/postgresql")
TOOL_SECONDS_MAX = 12 * 3_600.0
CONNECT_SECONDS_MAX = 10.0
STATEMENT_SECONDS_MAX = 600.0
STDERR_CHARACTERS_MAX = 2_000

_FOREIGN = """
SELECT n.nspname AS name, count(c.oid) AS relations
FROM pg_namespace AS n LEFT JOIN pg_class AS c ON c.relnamespace = n.oid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY n.nspname HAVING n.nspname <> 'public' OR count(c.oid) > 0 ORDER BY n.nspname
"""


@dataclass(frozen=True)
class Address:
    """Where a database is, as its programs are told: without the password, which goes into their environment."""

    url: str
    password: SecretStr | None


def address_of(dsn: SecretStr) -> Address:
    """Take the password out of a DSN."""
    parts = urlsplit(dsn.get_secret_value())
    user, _, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    in_query = [value for key, value in query if key == "password"]
    kept = urlencode([(key, value) for key, value in query if key != "password"])
    netloc = f"{name}@{host}" if name else host
    found = in_query[-1] if in_query else unquote(password) if colon else None
    return Address(urlunsplit(parts._replace(netloc=netloc, query=kept)), None if found is None else SecretStr(found))


async def connect(dsn: SecretStr) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection that may wait as long as a dump takes, unlike those of our services. Raises PostgresUnreachable."""
    try:
        return await asyncpg.connect(
            dsn.get_secret_value(),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=STATEMENT_SECONDS_MAX,
            server_settings={"application_name": "livestream-backup", "timezone": "UTC"},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise PostgresUnreachable(
            f"Postgres cannot be used: {reason}; is it running? (LIVESTREAM_POSTGRES_DSN)"
        ) from error


async def our_schemas(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """Those of our schemas that are in the database."""
    rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname = ANY($1)", list(SCHEMAS))
    there = {row["nspname"] for row in rows}
    return [schema for schema in SCHEMAS if schema in there]


async def applied_migrations(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> dict[str, str]:
    """Label to checksum of what is applied in a schema of ours."""
    # The name is one of our own, from the code.
    rows = await connection.fetch(
        f'SELECT source, number, name, checksum FROM "{schema}".applied_migrations ORDER BY source, number'  # noqa: S608  a schema's name cannot be a parameter; these are constants
    )
    return {f"{row['source']}/{row['number']:04}_{row['name']}": row["checksum"] for row in rows}


def unknown_migrations(applied: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Those of a backup that this version does not have, or has with another text."""
    unknown = []
    for schema, labels in applied.items():
        known = {one.label: one.checksum for one in migrations_of(SCHEMAS.get(schema, ()))}
        unknown += [f"{schema}: {label}" for label, checksum in labels.items() if known.get(label) != checksum]
    return unknown


def migrations_behind(applied: Mapping[str, Mapping[str, str]]) -> int:
    """How many migrations of this version a backup does not have yet."""
    wanted = {(schema, one.label) for schema, sources in SCHEMAS.items() for one in migrations_of(sources)}
    return len(wanted - {(schema, label) for schema, labels in applied.items() for label in labels})


async def require_empty(dsn: SecretStr) -> str:
    """The server's version; raises TargetNotEmpty with the schemas that are there, PostgresUnreachable."""
    connection = await connect(dsn)
    try:
        rows = await connection.fetch(_FOREIGN)
        version = str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
    if rows:
        found = ", ".join(f"{row['name']} ({row['relations']} tables, indexes and sequences)" for row in rows)
        raise TargetNotEmpty(
            f"the database is not empty: it has {found}; name a new one in LIVESTREAM_POSTGRES_DSN (createdb makes it)"
        )
    return version


async def dump(dsn: SecretStr, target: Path, *, schemas: Sequence[str], snapshot: str, server_version: str) -> None:
    """Dump our schemas as of the snapshot. Raises ToolMissing, ToolFailed."""
    # Unlogged tables hold who is connected; nobody is, after a restore.
    arguments = ["--format=custom", "--no-unlogged-table-data", "--no-password"]
    arguments += [f"--snapshot={snapshot}", f"--file={target}"]
    arguments += [f"--schema={schema}" for schema in schemas]
    address = address_of(dsn)
    await _run("pg_dump", [*arguments, f"--dbname={address.url}"], address, server_version)
    # That it can be read is proven by reading its table of contents.
    await _run("pg_restore", ["--list", str(target)], None, server_version)


async def restore(dsn: SecretStr, source: Path, *, server_version: str) -> None:
    """Restore a dump: all of it, or nothing. Raises ToolMissing, ToolFailed."""
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]
    address = address_of(dsn)
    await _run("pg_restore", [*arguments, f"--dbname={address.url}", str(source)], address, server_version)


def tool(program: str, server_version: str) -> str:
    """The program of the server's own version; else the one on PATH. Raises ToolMissing."""
    own = VERSIONS_DIRECTORY / server_version.partition(".")[0].split()[0] / "bin" / program
    found = str(own) if os.access(own, os.X_OK) else shutil.which(program)
    if found is None:
        raise ToolMissing(program)
    return found


async def _run(program: str, arguments: Sequence[str], address: Address | None, server_version: str) -> None:
    environment = dict(os.environ)
    if address is not None and address.password is not None:
        environment["PGPASSWORD"] = address.password.get_secret_value()
    process = await asyncio.create_subprocess_exec(
        tool(program, server_version),
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TOOL_SECONDS_MAX):
            _, stderr = await process.communicate()
    except TimeoutError:
        raise ToolFailed(program, f"it was stopped after {TOOL_SECONDS_MAX / 3600:.0f} hours") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        reason = " ".join(stderr.decode(errors="replace").split())[-STDERR_CHARACTERS_MAX:]
        raise ToolFailed(program, reason or f"it ended with exit code {process.returncode}")
