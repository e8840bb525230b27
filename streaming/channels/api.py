"""Channels and their keys."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.read_pool import ReadPool
from runtime.tokens import Caller
from streaming import store
from streaming.channels import keys
from streaming.errors import ChannelNotFound
from streaming.streams.words import Category, Title


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


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


class Channels:
    """Channels and their keys."""

    tag = "channels"

    def __init__(self, pool: Pool, reads: ReadPool, *, public_ingest_url: str) -> None:
        self._pool = pool
        self._reads = reads
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
        row = await store.queries.find_channel(self._reads, channel_id=channel_id)
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
