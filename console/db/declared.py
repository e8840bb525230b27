"""Indexes as the migrations declare them: each has a comment above it that names the queries that it serves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from runtime.migrations import SCHEMAS, migrations_of
from runtime.queries import Query, load_queries

# A comment of lines, then the statement.
_INDEX = re.compile(
    r"(?P<comment>(?:^[ \t]*--[^\n]*\n)*)"
    r"^[ \t]*CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(?P<name>\w+)\s+ON (?P<table>\w+)",
    re.MULTILINE | re.IGNORECASE,
)
_SERVES = re.compile(r"-- *serves:? *(.+)", re.IGNORECASE)
_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")
_FUNCTION = re.compile(r"^[ \t]*CREATE (?:OR REPLACE )?FUNCTION (\w+)", re.MULTILINE | re.IGNORECASE)
_DROPPED_TABLE = re.compile(r"^[ \t]*DROP TABLE (?:IF EXISTS )?(\w+)", re.MULTILINE | re.IGNORECASE)
_DROPPED_INDEX = re.compile(r"^[ \t]*DROP INDEX (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DeclaredIndex:
    """An index that a package's migrations leave behind.

    `comment` is what follows `serves:` (None: nothing does), `queries` are the names in it that the package has a query
    of, or all services alike; `unknown` those that are neither a query nor a function.
    """

    package: str
    migration: str
    name: str
    table: str
    comment: str | None
    queries: tuple[str, ...]
    unknown: tuple[str, ...]


@cache
def queries_for(package: str) -> dict[str, Query]:
    """The queries that use a package's tables, by their names: its own, and those that all services have alike."""
    found: dict[str, Query] = {}
    for one in ("runtime", package):
        with suppress(FileNotFoundError):  # a package may have none
            found |= {query.name: query for query in load_queries(one).all()}
    return found


@cache
def declared_indexes(package: str) -> dict[str, DeclaredIndex]:
    """The indexes of a package's migrations by their names, without those that later migrations dropped."""
    known, functions = queries_for(package), set[str]()
    declared: dict[str, DeclaredIndex] = {}
    for migration in migrations_of((package,)):
        functions |= set(_FUNCTION.findall(migration.sql))
        gone, tables = set(_DROPPED_INDEX.findall(migration.sql)), set(_DROPPED_TABLE.findall(migration.sql))
        declared = {name: one for name, one in declared.items() if name not in gone and one.table not in tables}
        for match in _INDEX.finditer(migration.sql):
            comment = _SERVES.search(match["comment"])
            names = _NAME.findall(comment[1]) if comment else []
            declared[match["name"]] = DeclaredIndex(
                package,
                migration.label,
                match["name"],
                match["table"],
                comment[1].strip() if comment else None,
                _once(name for name in names if name in known),
                _once(name for name in names if name not in known and name not in functions),
            )
    return declared


def indexes_of_schema(schema: str) -> dict[str, DeclaredIndex]:
    """The same for everything that makes a schema: the bus' tables are in each."""
    return {name: one for package in SCHEMAS[schema] for name, one in declared_indexes(package).items()}


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
