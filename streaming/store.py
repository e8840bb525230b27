"""Streaming's tables as the objects that the rest of streaming speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from events import Visibility
from runtime.postgres import Connection, Pool, load_queries
from streaming.ingest.commands import Session
from streaming.lifecycle.lifecycle import OpenStream, Status
from streaming.lifecycle.looks import Listened

queries = load_queries("streaming")

SESSIONS_PER_PAGE_MAX: Final = 1_000
FIRST_STREAM_ID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that has just begun."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    tags: tuple[str, ...]
    language: str | None
    visibility: Visibility
    started_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelStream:
    """A channel's open stream as it was read under a lock, at a time of the database's clock."""

    channel_id: UUID
    key_hash: bytes
    """Of the key that its publisher showed."""
    stream: OpenStream
    now: datetime


async def begin_stream(connection: Connection, key_hash: bytes, stream_id: UUID, session: Session) -> Begun | None:
    """Begin a stream for the channel of this key; None when it has an open one, or may not, or the key is nobody's."""
    row = await queries.begin_stream(
        connection, key_hash=key_hash, stream_id=stream_id, server=session.server, client=session.client
    )
    if row is None:
        return None
    return Begun(
        stream_id,
        row["channel_id"],
        row["name"],
        row["title"],
        row["category"],
        tuple(row["tags"]),
        row["language"],
        Visibility(row["visibility"]),
        row["started_at"],
    )


async def lock_open_stream_of_channel_key(connection: Connection, key_hash: bytes) -> ChannelStream | None:
    """The open stream of the channel that has this key, held for the rest of the transaction."""
    row = await queries.lock_open_stream_of_channel_key(connection, key_hash=key_hash)
    return _channel_stream(row) if row else None


async def lock_open_stream_of_key(connection: Connection, key_hash: bytes) -> tuple[ChannelStream, bool] | None:
    """The open stream whose publisher showed this key, and whether its channel is banned."""
    row = await queries.lock_open_stream_of_key(connection, key_hash=key_hash)
    return (_channel_stream(row), bool(row["banned"])) if row else None


async def lock_open_stream_of_session(connection: Connection, session: Session) -> tuple[ChannelStream, bool] | None:
    """The open stream that listens to this session (the latest, if numbers began again), and whether it is banned."""
    row = await queries.lock_open_stream_of_session(connection, server=session.server, client=session.client)
    return (_channel_stream(row), bool(row["banned"])) if row else None


async def lock_open_stream(connection: Connection, stream_id: UUID) -> ChannelStream | None:
    """An open stream by its id, held for the rest of the transaction."""
    row = await queries.lock_open_stream(connection, stream_id=stream_id)
    return _channel_stream(row) if row else None


async def lock_overdue_streams(
    connection: Connection, *, grace: timedelta, silence: timedelta, streams_max: int
) -> Sequence[ChannelStream]:
    """Open streams that are over-due for either reason and that nobody else holds."""
    rows = await queries.lock_overdue_streams(connection, grace=grace, silence=silence, streams_max=streams_max)
    return [_channel_stream(row) for row in rows]


async def save_open_stream(connection: Connection, before: OpenStream, after: OpenStream, key_hash: bytes) -> None:
    """Keep what an open stream has become. A mere sign of life costs one small update."""
    if before.status is after.status is Status.LIVE and before.session_started_at == after.session_started_at:
        await queries.touch_open_stream(connection, stream_id=after.stream_id, seen_at=after.seen_at)
        return
    await queries.save_open_stream(
        connection,
        stream_id=after.stream_id,
        status=after.status.value,
        key_hash=key_hash,
        server=after.session.server,
        client=after.session.client,
        session_started_at=after.session_started_at,
        seen_at=after.seen_at,
        interrupted_at=after.interrupted_at,
        silent=after.silent,
    )


async def lock_open_streams(connection: Connection, stream_ids: Sequence[UUID]) -> Sequence[ChannelStream]:
    """Those of these streams that are open and that nobody else holds."""
    return [_channel_stream(row) for row in await queries.lock_open_streams(connection, stream_ids=stream_ids)]


async def list_sessions(pool: Pool, server: str) -> Sequence[Listened]:
    """The sessions of one media server that streams listen to; reads pages of them."""
    listened: list[Listened] = []
    after = FIRST_STREAM_ID
    while True:
        rows = await queries.list_sessions(pool, server=server, after=after, rows_max=SESSIONS_PER_PAGE_MAX)
        for row in rows:
            session = Session(row["server"], row["client"])
            listened.append(
                Listened(row["stream_id"], session, row["session_started_at"], row["seen_at"], Status(row["status"]))
            )
        if len(rows) < SESSIONS_PER_PAGE_MAX:
            return listened
        after = rows[-1]["stream_id"]


async def touch_sessions(pool: Pool, server: str, there: Sequence[tuple[UUID, str]], asked_at: datetime) -> None:
    """Write down that a media server asked at `asked_at` had these live streams' clients."""
    stream_ids, clients = [stream_id for stream_id, _ in there], [client for _, client in there]
    await queries.touch_sessions(pool, server=server, stream_ids=stream_ids, clients=clients, asked_at=asked_at)


async def find_session(pool: Pool, stream_id: UUID) -> tuple[Session, float] | None:
    """The publisher that an open stream listens to and how many seconds ago it was accepted; None: it is over."""
    row = await queries.find_session_of_stream(pool, stream_id=stream_id)
    return (Session(row["server"], row["client"]), float(row["accepted_seconds_ago"])) if row else None


def _channel_stream(row: asyncpg.Record) -> ChannelStream:
    return ChannelStream(row["channel_id"], bytes(row["key_hash"]), _open_stream(row), row["now"])


def _open_stream(row: asyncpg.Record) -> OpenStream:
    return OpenStream(
        stream_id=row["stream_id"],
        status=Status(row["status"]),
        session=Session(row["server"], row["client"]),
        started_at=row["started_at"],
        session_started_at=row["session_started_at"],
        seen_at=row["seen_at"],
        interrupted_at=row["interrupted_at"],
        silent=row["silent"],
    )


async def make_partitions(connection: Connection, months_ahead: int) -> int:
    """Make the partitions of `streams` and of their statistics for this and coming months; how many were missing."""
    streams = await queries.make_partitions(connection, months_ahead=months_ahead)
    statistics = await queries.make_stats_partitions(connection, months_ahead=months_ahead)
    return len(streams) + len(statistics)
