"""Which statements have cost the most, as pg_stat_statements counts them; their texts, which hold no parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from runtime.migrations import SCHEMAS
from runtime.queries import load_queries

if TYPE_CHECKING:
    _Session = asyncpg.Connection[asyncpg.Record]

EXTENSION = "pg_stat_statements"

_TOP = """
select s.query as text, s.calls, s.total_exec_time as total_ms, s.mean_exec_time as mean_ms, s.max_exec_time as max_ms
from {place}.pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = current_database()
order by s.total_exec_time desc
limit $1
"""


@dataclass(frozen=True, slots=True)
class Costly:
    """A statement; `name` is that of the query it is, `package.name`, where it is one."""

    name: str | None
    text: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float


class NotCounting(Exception):
    """The server does not count statements, or nobody may read it; the text says how to have it."""


async def enable(connection: _Session) -> None:
    """Make what has been counted readable in this database. Raises NotCounting."""
    if "pg_stat_statements" not in (await connection.fetchval("show shared_preload_libraries") or ""):
        raise NotCounting(
            f"the server does not load {EXTENSION}: set shared_preload_libraries = '{EXTENSION}' and restart it"
        )
    try:
        await connection.execute(f"create extension if not exists {EXTENSION} schema public")
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotCounting(f"a superuser has to say `create extension {EXTENSION}` in this database") from error


async def costliest(connection: _Session, *, statements_max: int) -> list[Costly]:
    """The statements that took the most time in all. Raises NotCounting."""
    place = await connection.fetchval(
        "select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace"
        " where e.extname = $1",
        EXTENSION,
    )
    if place is None:
        raise NotCounting("statements are not counted here: `livestream db slow --enable` says or does what it takes")
    try:
        rows = await connection.fetch(_TOP.format(place=place), statements_max)
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise NotCounting(f"set shared_preload_libraries = '{EXTENSION}' and restart the server") from error
    names = _names()
    return [Costly(names.get(_squeezed(row["text"])), _squeezed(row["text"]), *tuple(row)[1:]) for row in rows]


def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in ("runtime", "eventbus", *SCHEMAS):
        try:
            queries = load_queries(package).all()
        except (FileNotFoundError, ModuleNotFoundError):
            continue
        found |= {_squeezed(query.sql): f"{package}.{query.name}" for query in queries}
    return found


def _squeezed(sql: str) -> str:
    return " ".join(sql.split()).rstrip("; ")
