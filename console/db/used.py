"""How often the database has used each of our indexes, and since when it has counted that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from console.db.declared import DeclaredIndex, indexes_of_schema
from runtime.migrations import SCHEMAS

if TYPE_CHECKING:
    import asyncpg

# An index of a partitioned table is as many as there are partitions; they are told as one.
_INDEXES = """
with recursive tree as (
    select i.indexrelid as root, i.indexrelid as member
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any ($1) and not c.relispartition
    union all
    select tree.root, h.inhrelid from tree join pg_inherits h on h.inhparent = tree.member
)
select n.nspname as schema, t.relname as "table", c.relname as name, x.indisunique as is_unique,
       exists (select from pg_constraint k where k.conindid = c.oid) as is_key,
       count(*) filter (where m.relkind = 'i') as parts, coalesce(sum(s.idx_scan), 0)::bigint as scans,
       coalesce(sum(pg_relation_size(m.oid)) filter (where m.relkind = 'i'), 0)::bigint as size_bytes
from tree
join pg_class c on c.oid = tree.root
join pg_namespace n on n.oid = c.relnamespace
join pg_index x on x.indexrelid = tree.root
join pg_class t on t.oid = x.indrelid
join pg_class m on m.oid = tree.member
left join pg_stat_all_indexes s on s.indexrelid = tree.member
group by n.nspname, t.relname, c.relname, c.oid, x.indisunique
order by n.nspname, t.relname, c.relname
"""
_RESET = "select stats_reset from pg_stat_database where datname = current_database()"

Use = Literal["used", "unused", "young", "rule"]
"""``rule``: a key or a unique index, which keeps a promise even if nothing is looked up by it. ``young``: not used yet,
and counted for too short a time to call it unused."""


@dataclass(frozen=True, slots=True)
class IndexUse:
    """An index that is there; `declared` is None for keys, and for one that no migration made."""

    schema: str
    table: str
    name: str
    is_key: bool
    is_unique: bool
    parts: int
    scans: int
    size_bytes: int
    counted_since: datetime
    declared: DeclaredIndex | None

    def use(self, now: datetime, *, after: timedelta) -> Use:
        """What to think of it."""
        if self.scans:
            return "used"
        if self.is_key or self.is_unique:
            return "rule"
        return "unused" if now - self.counted_since >= after else "young"


@dataclass(frozen=True, slots=True)
class Report:
    """All indexes of all services; `stats_reset` None: never, as far as the server knows."""

    now: datetime
    stats_reset: datetime | None
    indexes: tuple[IndexUse, ...]

    def missing(self) -> list[DeclaredIndex]:
        """Indexes that migrations make and that are not there."""
        there = {(one.schema, one.name) for one in self.indexes}
        schemas = {one.schema for one in self.indexes}
        return [
            declared
            for schema in SCHEMAS
            if schema in schemas
            for name, declared in indexes_of_schema(schema).items()
            if (schema, name) not in there
        ]


async def read_indexes(connection: asyncpg.Connection[asyncpg.Record]) -> Report:
    """What there is in every schema of ours. Counts of other servers, such as replicas, are not among it."""
    rows = await connection.fetch(_INDEXES, list(SCHEMAS))
    now: datetime = await connection.fetchval("select now()")
    stats_reset: datetime | None = await connection.fetchval(_RESET)
    applied = await _applied(connection, {row["schema"] for row in rows})
    found = []
    for row in rows:
        declared = indexes_of_schema(row["schema"]).get(row["name"])
        made = applied.get((row["schema"], declared.migration if declared else ""))
        first = min((at for (schema, _), at in applied.items() if schema == row["schema"]), default=now)
        since = max(one for one in (made or first, stats_reset) if one is not None)
        found.append(IndexUse(**row, counted_since=since, declared=declared))
    return Report(now, stats_reset, tuple(found))


async def _applied(
    connection: asyncpg.Connection[asyncpg.Record], schemas: Iterable[str]
) -> dict[tuple[str, str], datetime]:
    """When which migration was applied: nothing was counted for an index before there was one."""
    applied = {}
    for schema in sorted(schemas):
        rows = await connection.fetch(f'select source, number, name, applied_at from "{schema}".applied_migrations')  # noqa: S608  a name cannot be a parameter; these are our own
        for row in rows:
            applied[schema, f"{row['source']}/{row['number']:04}_{row['name']}"] = row["applied_at"]
    return applied
