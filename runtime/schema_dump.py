"""Writes a schema as SQL (`<service>/sql/schema.sql`): a reviewer reads tables, not the history of migrations."""

import asyncio
import os
import re
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from runtime.migrations import SCHEMAS, migrate

DUMP_TIMEOUT_SECONDS = 30.0

_HEADING = (
    "-- Generated from the migrations by `livestream generate`; read it, do not edit it.\n"
    "-- Tables of the bus (outbox, inbox, …) come from eventbus/sql/migrations; partitions of dates are left out.\n\n"
)


class DumpFailed(Exception):
    """pg_dump did not do its work; the text is what it said."""


def schema_file(schema: str) -> Path:
    """Where the dump of `schema` is kept, from the checkout: beside the migrations that are its alone."""
    return Path(*SCHEMAS[schema][-1].split("."), "sql", "schema.sql")


async def dump_schema(dsn: SecretStr, schema: str) -> str:
    """The tables, indexes and constraints of `schema` as pg_dump tells them, without what differs between runs."""
    process = await asyncio.create_subprocess_exec(
        "pg_dump",
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        f"--schema={schema}",
        f"--exclude-table={schema}.applied_migrations",
        # Partitions of days, weeks and months: which there are depends on the day.
        f"--exclude-table={schema}.*_20[0-9][0-9]*",
        env={**os.environ, **_connection_variables(dsn)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DUMP_TIMEOUT_SECONDS):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise DumpFailed(f"pg_dump did not end within {DUMP_TIMEOUT_SECONDS:g} s") from error
    if process.returncode != 0:
        raise DumpFailed(complaint.decode(errors="replace").strip()[-2000:])
    return normalised(output.decode(), schema)


async def dump_schemas(server_dsn: SecretStr) -> dict[str, str]:
    """Every schema's dump, from a database that is made on this server, migrated, and dropped again."""
    name = f"livestream_dump_{secrets.token_hex(4)}"
    scratch = SecretStr(urlunsplit(urlsplit(server_dsn.get_secret_value())._replace(path=f"/{name}")))
    server = await asyncpg.connect(server_dsn.get_secret_value(), timeout=5, command_timeout=60)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        try:
            await migrate(scratch)
            return {schema: await dump_schema(scratch, schema) for schema in SCHEMAS}
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


def normalised(dump: str, schema: str) -> str:
    """`dump` without comments, session settings and the schema's name, statements separated by one empty line."""
    kept = [line for line in dump.splitlines() if not re.match(r"--|SET |SELECT pg_catalog\.|\\(un)?restrict ", line)]
    text = "\n".join(kept).replace(f"CREATE SCHEMA {schema};\n", "").replace(f"{schema}.", "")
    return _HEADING + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _connection_variables(dsn: SecretStr) -> dict[str, str]:
    # By environment, since arguments are readable for everybody on the machine.
    parts = urlsplit(dsn.get_secret_value())
    found = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port or 5432),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.path.lstrip("/"),
    }
    return {name: unquote(value) for name, value in found.items() if value}
