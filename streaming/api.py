"""What streamers and viewers ask streaming for."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller
from streaming import keys, store
from streaming.errors import ChannelNotFound, NotYourStream, StreamNotFound
from streaming.lifecycle import Status
from streaming.livelist import LiveList, PageKey
from streaming.publishing import Publishing

TITLE_CHARACTERS_MAX = 140
CATEGORY_CHARACTERS_MAX = 50

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARACTERS_MAX)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CATEGORY_CHARACTERS_MAX)]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class StreamPath(_View):
    """Which stream."""

    stream_id: UUID


class ChannelPath(_View):
    """Which channel: the id of its streamer."""

    channel_id: UUID


class ChannelChange(BaseModel):
    """What a streamer says of the channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Title = Field(description="The title of the next stream.")
    category: Category | None = Field(
        default=None,
        description="What the next stream is about: followers may choose by it. Null or left out: nothing.",
    )


class ChannelView(_View):
    """A channel."""

    channel_id: UUID
    name: str
    title: str = Field(description="The title that the next stream gets.")
    category: str | None = Field(description="The category that the next stream gets, if one is set.")
    stream_id: UUID | None = Field(description="The stream that is on, if one is.")
    created_at: datetime


class StreamKeyView(_View):
    """A stream key, shown this once."""

    stream_key: str = Field(description="Enter it in the encoder as stream key; it cannot be shown again.")
    ingest_url: str = Field(description="Enter it in the encoder as server.")


class RecordingView(_View):
    """What is known of a stream's recording."""

    status: str = Field(description="`processing` (plays, lower renditions follow), `completed` or `failed`.")
    playback_url: str | None = Field(description="The path of its playlist, once it plays.")
    duration_seconds: float | None


class LiveStreamView(_View):
    """A stream that is not over."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    status: Status = Field(description="`interrupted` while its publisher is away and may come back.")
    started_at: datetime
    playback_url: str


class StreamView(_View):
    """A stream."""

    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    status: Status
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    playback_url: str | None = Field(description="The path of its live playlist while it is not over.")
    recording: RecordingView | None


class LiveStreamsPage(_View):
    """A page of the streams that are on, newest first."""

    items: list[LiveStreamView]
    next_cursor: str | None


class Channels:
    """Channels and their keys."""

    tag = "channels"

    def __init__(self, pool: Pool, *, public_ingest_url: str) -> None:
        self._pool = pool
        self._public_ingest_url = public_ingest_url

    @endpoint("POST", "/api/channels/me/stream-key", status=201)
    async def make_stream_key(self, caller: Caller) -> StreamKeyView:
        """Make a stream key for the caller's channel.

        It is shown this once. The key before, if there was one, stops working: whoever publishes with it is dropped at
        the next sign of life.
        """
        key = keys.make_key()
        async with self._pool.acquire() as connection, connection.transaction():
            await store.queries.save_channel(connection, channel_id=caller.user_id, name=caller.name)
            await store.queries.set_stream_key(connection, channel_id=caller.user_id, key_hash=keys.digest(key))
        return StreamKeyView(stream_key=key, ingest_url=self._public_ingest_url)

    @endpoint("PUT", "/api/channels/me")
    async def change_channel(self, caller: Caller, body: ChannelChange) -> ChannelView:
        """Set the title and the category of the caller's next stream."""
        async with self._pool.acquire() as connection, connection.transaction():
            await store.queries.save_channel(connection, channel_id=caller.user_id, name=caller.name)
            await store.queries.describe_next_stream(
                connection, channel_id=caller.user_id, title=body.title, category=body.category
            )
        return await self._view(caller.user_id)

    @endpoint("GET", "/api/channels/{channel_id}", problems=(ChannelNotFound,))
    async def get_channel(self, path: ChannelPath) -> ChannelView:
        """A channel, and the stream that is on."""
        return await self._view(path.channel_id)

    async def _view(self, channel_id: UUID) -> ChannelView:
        row = await store.queries.find_channel(self._pool, channel_id=channel_id)
        if row is None:
            raise ChannelNotFound("no channel has this id")
        return ChannelView(
            channel_id=row["channel_id"],
            name=row["name"],
            title=row["title"],
            category=row["category"],
            stream_id=row["open_stream_id"],
            created_at=row["created_at"],
        )


class Streams:
    """Streams, live and past."""

    tag = "streams"

    def __init__(self, pool: Pool, publishing: Publishing, live_list: LiveList[LiveStreamsPage]) -> None:
        self._pool = pool
        self._publishing = publishing
        self._live_list = live_list

    @endpoint("GET", "/api/streams", headers={"Cache-Control": "public, max-age=2"})
    async def list_live_streams(self, query: PageQuery) -> LiveStreamsPage:
        """The streams that are on, newest first."""
        return await self._live_list.page((query.limit, query.cursor))

    @endpoint("GET", "/api/streams/{stream_id}", problems=(StreamNotFound,))
    async def get_stream(self, path: StreamPath) -> StreamView:
        """A stream, live or past, and what is known of its recording."""
        return _stream_view(await self._find(path.stream_id))

    @endpoint("POST", "/api/streams/{stream_id}/end", problems=(StreamNotFound, NotYourStream))
    async def end_stream(self, caller: Caller, path: StreamPath) -> StreamView:
        """End a stream of one's own.

        The publisher is dropped. Ending a stream that is over changes nothing and answers the same.
        """
        row = await self._find(path.stream_id)
        if row["channel_id"] != caller.user_id:
            raise NotYourStream("only its streamer may end a stream")
        if row["status"] != Status.ENDED:
            await self._publishing.end(path.stream_id)
        return _stream_view(await self._find(path.stream_id))

    async def _find(self, stream_id: UUID) -> asyncpg.Record:
        row: asyncpg.Record | None = await store.queries.find_stream(self._pool, stream_id=stream_id)
        if row is None:
            raise StreamNotFound("no stream has this id")
        return row


async def read_live_streams(pool: Pool, key: PageKey) -> LiveStreamsPage:
    """A page of the live list as the database has it; raises InvalidCursor."""
    limit, cursor = key
    if cursor is None:
        rows = await store.queries.list_live_streams(pool, rows_max=limit + 1)
    else:
        started_at, stream_id = decode_cursor(cursor, datetime, UUID)
        rows = await store.queries.list_live_streams_after(
            pool, started_at=started_at, stream_id=stream_id, rows_max=limit + 1
        )
    items = [LiveStreamView(playback_url=_live_url(row["stream_id"]), **dict(row)) for row in rows[:limit]]
    more = len(rows) > limit
    return LiveStreamsPage(
        items=items, next_cursor=encode_cursor(items[-1].started_at, items[-1].stream_id) if more else None
    )


def _live_url(stream_id: UUID) -> str:
    return f"/live/{stream_id}/index.m3u8"


def _stream_view(row: asyncpg.Record) -> StreamView:
    recording = None
    if row["recording_status"] is not None:
        recording = RecordingView(
            status=row["recording_status"],
            playback_url=row["recording_path"],
            duration_seconds=row["recording_seconds"],
        )
    return StreamView(
        stream_id=row["stream_id"],
        channel_id=row["channel_id"],
        channel_name=row["channel_name"],
        title=row["title"],
        category=row["category"],
        status=row["status"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
        playback_url=None if row["status"] == Status.ENDED else _live_url(row["stream_id"]),
        recording=recording,
    )
