"""Lists of streams: those that are on by what they are about, and a channel's that are prepared or over.

Which streams are on is known from `open_streams`, a few hundred rows; what is prepared or over is asked of one channel
at a time and read along an index. So no list, whatever is asked for, reads more than that.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

import asyncpg
from pydantic import Field, model_validator

from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.queries import Executor
from streaming import store
from streaming.reads.live_streams import read_live_streams
from streaming.streams.views import LiveStreamsPage, listed_view
from streaming.streams.words import Category, Language, Tag

# Before the first item of a list: it is newest first, or soonest first.
_NEWEST: Final = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))
_SOONEST: Final = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))


class ListedStatus(StrEnum):
    """Which streams are asked for."""

    LIVE = "live"
    PREPARED = "prepared"
    ENDED = "ended"


class StreamsQuery(PageQuery):
    """Which streams."""

    status: ListedStatus = Field(
        default=ListedStatus.LIVE,
        description="`live`: that are on (also interrupted ones); `prepared` and `ended` take a `channel_id`.",
    )
    channel_id: UUID | None = Field(default=None, description="Of one channel. Its streamer sees hidden ones as well.")
    category: Category | None = Field(default=None, description="About this, whatever the case of its letters.")
    language: Language | None = Field(default=None, description="In this language: `en` finds `en-GB` too.")
    tag: Tag | None = None

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        if self.status is not ListedStatus.LIVE and self.channel_id is None:
            raise ValueError(f"status={self.status.value} takes a channel_id")
        return self


async def read_streams(database: Executor, query: StreamsQuery, *, with_hidden: bool = False) -> LiveStreamsPage:
    """A page of what is asked for; raises InvalidCursor. `with_hidden` adds what is not public."""
    if query == StreamsQuery(limit=query.limit, cursor=query.cursor) and not with_hidden:
        return await read_live_streams(database, query)
    place = _SOONEST if query.status is ListedStatus.PREPARED else _NEWEST
    moment, stream_id = place if query.cursor is None else decode_cursor(query.cursor, datetime, UUID)
    asked = {
        "channel_id": query.channel_id,
        "category": query.category,
        "language": query.language,
        "tag": query.tag,
        "with_hidden": with_hidden,
        "rows_max": query.limit + 1,
    }
    if query.status is ListedStatus.PREPARED:
        rows = await store.queries.list_prepared_streams(database, due_at=moment, prepared_id=stream_id, **asked)
    elif query.status is ListedStatus.ENDED:
        rows = await store.queries.list_channel_streams(database, started_at=moment, stream_id=stream_id, **asked)
    else:
        rows = await store.queries.list_open_streams(database, started_at=moment, stream_id=stream_id, **asked)
    more = len(rows) > query.limit
    listed = rows[: query.limit]
    cursor = _cursor(listed[-1]) if more else None
    return LiveStreamsPage(items=[listed_view(row) for row in listed], next_cursor=cursor)


def _cursor(row: asyncpg.Record) -> str:
    if "prepared_id" in row:
        return encode_cursor(row["due_at"], row["prepared_id"])
    return encode_cursor(row["started_at"], row["stream_id"])
