"""What streaming erases of a person: the stream that is on ends, then all streams go, then the channel."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final
from uuid import UUID

from events import EndReason
from runtime.erasure import EraseStep, NotYet
from runtime.postgres import Pool
from streaming import store
from streaming.lifecycle.publishing import Publishing

STREAMS_PER_BATCH_MAX: Final = 500
COLD_STREAMS_PER_LOOK_MAX: Final = 20_000
HOLD_WAIT_SECONDS: Final = 300.0
FIRST_ID: Final = UUID(int=0)


class ChannelErasing:
    """The steps, in the order in which they are done."""

    def __init__(self, pool: Pool, publishing: Publishing) -> None:
        self._pool = pool
        self._publishing = publishing

    @property
    def steps(self) -> Sequence[EraseStep]:
        """For the worker."""
        return (self.end_stream, self.erase_streams, self.erase_cold_streams, self.erase_channel, self.look_for_holds)

    async def end_stream(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Whoever publishes is dropped, and the stream is said to be over. Its key is gone since the event."""
        await store.queries.drop_stream_key(self._pool, channel_id=channel_id)
        for row in await store.queries.list_open_streams_of(self._pool, channel_id=channel_id):
            await self._publishing.end(row["stream_id"], EndReason.DELETED)
            yield

    async def erase_streams(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Streams with their figures and what is known of their recordings."""
        while await store.queries.erase_streams(self._pool, channel_id=channel_id, rows_max=STREAMS_PER_BATCH_MAX):
            yield

    async def erase_cold_streams(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """The same of those that are years old: all of everybody's are looked at, since only their ids are indexed."""
        after: UUID | None = FIRST_ID
        while after is not None:
            after = await store.queries.erase_cold_streams(
                self._pool, channel_id=channel_id, after_id=after, rows_max=COLD_STREAMS_PER_LOOK_MAX
            )
            yield

    async def erase_channel(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """From here on nobody finds what a hold may keep: a stream is shown with its channel or not at all."""
        await store.queries.erase_channel(self._pool, channel_id=channel_id)
        yield

    async def look_for_holds(self, channel_id: UUID) -> AsyncGenerator[None, None]:
        """Not done while a hold keeps streams."""
        if await store.queries.has_streams(self._pool, channel_id=channel_id):
            raise NotYet("a hold keeps streams", wait_seconds=HOLD_WAIT_SECONDS)
        yield
