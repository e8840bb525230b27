"""Channels and their keys."""

from uuid import UUID

from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.problems import NotAuthenticated
from runtime.read_pool import ReadPool
from runtime.tokens import Caller
from streaming import store
from streaming.channels import keys
from streaming.channels.bans import BannedBy, Bans
from streaming.channels.views import (
    ChannelChange,
    ChannelPatch,
    ChannelPath,
    ChannelView,
    OwnChannelView,
    StreamKeyView,
    channel_view,
    own_channel_view,
)
from streaming.errors import DELETED, BannedByOperator, ChannelNotFound, NotYourChannel


class Channels:
    """Channels and their keys."""

    tag = "channels"

    def __init__(self, pool: Pool, reads: ReadPool, bans: Bans, *, public_ingest_url: str) -> None:
        self._pool = pool
        self._reads = reads
        self._bans = bans
        self._public_ingest_url = public_ingest_url

    @endpoint("POST", "/api/channels/me/stream-key", status=201)
    async def make_stream_key(self, caller: Caller) -> StreamKeyView:
        """Make a stream key for the caller's channel.

        It is shown this once. With the key before, if there was one, nobody can begin to publish any more; whoever
        publishes with it goes on until they stop. A ban of the streamer's own ends with the key that it was about.
        """
        key = keys.make_key()
        async with self._pool.acquire() as connection, connection.transaction():
            await store.queries.save_channel(connection, channel_id=caller.user_id, name=caller.name)
            # A deletion that is being noted locks the channel: wait for it, then look.
            await store.queries.lock_channel(connection, channel_id=caller.user_id)
            hashed = keys.digest(key)
            if await store.queries.set_stream_key(connection, channel_id=caller.user_id, key_hash=hashed) is None:
                raise NotAuthenticated(DELETED)
            await store.queries.lift_bans(connection, channel_id=caller.user_id, banned_by=[BannedBy.STREAMER.value])
        return StreamKeyView(stream_key=key, ingest_url=self._public_ingest_url)

    @endpoint("PUT", "/api/channels/me")
    async def set_channel(self, caller: Caller, body: ChannelChange) -> OwnChannelView:
        """Set the title and the category of the caller's next stream, and what else is said."""
        return await self._change(caller, body)

    @endpoint("PATCH", "/api/channels/me")
    async def change_channel(self, caller: Caller, body: ChannelPatch) -> OwnChannelView:
        """Change what the caller's channel says of itself and of its next stream; what is left out stays."""
        return await self._change(caller, body)

    @endpoint("GET", "/api/channels/me", problems=(ChannelNotFound,))
    async def get_own_channel(self, caller: Caller) -> OwnChannelView:
        """The caller's channel; there is none before the first key or the first word about it."""
        return await self._own_view(caller.user_id)

    @endpoint("GET", "/api/channels/{channel_id}", problems=(ChannelNotFound,))
    async def get_channel(self, path: ChannelPath) -> ChannelView:
        """A channel, and the stream that is on if it is public."""
        return channel_view(await self._row(path.channel_id))

    @endpoint("DELETE", "/api/channels/{channel_id}/ban", problems=(NotYourChannel, BannedByOperator))
    async def lift_ban(self, caller: Caller, path: ChannelPath) -> None:
        """Let a channel stream again: a streamer after a ban of their own, an operator after an operator's."""
        await self._bans.lift(path.channel_id, caller)

    async def _change(self, caller: Caller, body: ChannelChange | ChannelPatch) -> OwnChannelView:
        async with self._pool.acquire() as connection, connection.transaction():
            await store.queries.save_channel(connection, channel_id=caller.user_id, name=caller.name)
            row = await store.queries.lock_channel(connection, channel_id=caller.user_id)
            if row is None:
                raise NotAuthenticated(DELETED)
            await store.queries.change_channel(connection, channel_id=caller.user_id, **body.over(row))
        return await self._own_view(caller.user_id)

    async def _own_view(self, channel_id: UUID) -> OwnChannelView:
        ban = await self._bans.find(self._reads, channel_id)
        return own_channel_view(await self._row(channel_id), ban)

    async def _row(self, channel_id: UUID) -> dict[str, object]:
        row = await store.queries.view_channel(self._reads, channel_id=channel_id)
        if row is None:
            raise ChannelNotFound("no channel has this id")
        return dict(row)
