"""Reads pages of the live list from the database."""

from datetime import datetime
from uuid import UUID

from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.queries import Executor
from streaming import store
from streaming.streams.views import LiveStreamsPage, listed_view


async def read_live_streams(database: Executor, query: PageQuery) -> LiveStreamsPage:
    """A page of the live list as the database has it; raises InvalidCursor."""
    limit = query.limit
    if query.cursor is None:
        rows = await store.queries.list_live_streams(database, rows_max=limit + 1)
    else:
        started_at, stream_id = decode_cursor(query.cursor, datetime, UUID)
        rows = await store.queries.list_live_streams_after(
            database, started_at=started_at, stream_id=stream_id, rows_max=limit + 1
        )
    listed = rows[:limit]
    cursor = encode_cursor(listed[-1]["started_at"], listed[-1]["stream_id"]) if len(rows) > limit else None
    return LiveStreamsPage(items=[listed_view(row) for row in listed], next_cursor=cursor)
