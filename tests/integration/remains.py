"""Looks for what is left of a person: every row of a schema as text, every key of Redis, every object's name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from events import AccountDeleted, AccountRenamed, Envelope
from runtime.erasure import Erasures
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool

NOT_ASKED = frozenset({"outbox", "outbox_cursor", "inbox", "schema_migrations", "erasures"})
"""What says itself for how long it keeps ids (docs/erasure.md): the bus, and the tombstones."""
PERSON_COLUMNS = "(user_id|channel_id|follower_id|actor_id|target_id|[a-z]+_by)"


def deleted(user_id: UUID) -> Envelope[AccountDeleted]:
    """What accounts says of a deleted person."""
    now = datetime.now(UTC)
    event = AccountDeleted(user_id=user_id, deleted_at=now)
    return Envelope(id=uuid7(), source="accounts", time=now, event=event)


def renamed(user_id: UUID, username: str, at: datetime | None = None) -> Envelope[AccountRenamed]:
    """What accounts says of a renamed person."""
    now = datetime.now(UTC)
    event = AccountRenamed(user_id=user_id, username=username, renamed_at=at or now)
    return Envelope(id=uuid7(), source="accounts", time=now, event=event)


async def tables(connection: Connection | Pool, schema: str) -> set[str]:
    """The tables of a schema; partitions count as their parent."""
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition",
        schema,
    )
    return {row["relname"] for row in rows} - NOT_ASKED


async def tables_of_people(connection: Connection | Pool, schema: str) -> set[str]:
    """Those that have a column for the id of a person."""
    rows = await connection.fetch(
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = $1 AND data_type = 'uuid'"
        " AND column_name ~ ('^' || $2 || '$')",
        schema,
        PERSON_COLUMNS,
    )
    return {row["table_name"] for row in rows} & await tables(connection, schema)


async def tables_that_say(connection: Connection | Pool, schema: str, *marks: str | UUID) -> set[str]:
    """The tables in which any of some texts occurs, in capitals or not."""
    found = set()
    for table in await tables(connection, schema):
        says = f'SELECT EXISTS (SELECT FROM {schema}."{table}" AS r WHERE r::text ILIKE ANY ($1))'  # noqa: S608  our own names
        if await connection.fetchval(says, [f"%{mark}%" for mark in marks]):
            found.add(table)
    return found


async def keys_that_say(redis: Redis, *marks: str | UUID, ending_seconds: int = 600) -> Sequence[str]:
    """The keys of Redis whose name or content has any of some texts, but for those that end by themselves so soon."""
    found = []
    async for name in redis.scan_iter(count=1_000):
        said = name + (await redis.dump(name) or b"")
        if any(str(mark).encode() in said for mark in marks) and not 0 < await redis.ttl(name) <= ending_seconds:
            found.append(name.decode())
    return found


async def erase_all(erasures: Erasures, pool: Pool, user_id: UUID, *, rounds_max: int = 20) -> asyncpg.Record:
    """Let the worker go on until nothing is due; the tombstone."""
    for _ in range(rounds_max):
        if not await erasures.round():
            break
    row = await pool.fetchrow("SELECT * FROM erasures WHERE user_id = $1", user_id)
    assert row is not None
    return row
