"""What chat keeps in Postgres: the rooms."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries("chat")


@dataclass(frozen=True, slots=True)
class KnownRoom:
    """A room as its table has it."""

    channel_id: UUID
    channel_name: str
    live_stream_id: UUID | None


async def find_room(pool: Pool, channel_id: UUID) -> KnownRoom | None:
    """A room whose channel is known by name."""
    row = await QUERIES.find_room(pool, channel_id=channel_id)
    return None if row is None else KnownRoom(**dict(row))


async def open_room(connection: Connection, channel_id: UUID, channel_name: str) -> None:
    """Make sure that a channel's room exists under this name."""
    await QUERIES.open_room(connection, channel_id=channel_id, channel_name=channel_name)


async def start_stream(
    connection: Connection, channel_id: UUID, channel_name: str, stream_id: UUID, started_at: datetime
) -> KnownRoom | None:
    """Note a stream's start; the room if that changed it."""
    row = await QUERIES.start_stream(
        connection, channel_id=channel_id, channel_name=channel_name, stream_id=stream_id, started_at=started_at
    )
    return None if row is None else KnownRoom(**dict(row))


async def end_stream(
    connection: Connection, channel_id: UUID, stream_id: UUID, started_at: datetime, ended_at: datetime
) -> KnownRoom | None:
    """Note a stream's end; the room if that changed it."""
    row = await QUERIES.end_stream(
        connection, channel_id=channel_id, stream_id=stream_id, started_at=started_at, ended_at=ended_at
    )
    return None if row is None else KnownRoom(**dict(row))
