"""Holds that the console places on streams, beside those of the archive and of chat."""

from typing import Literal
from uuid import UUID

from runtime.postgres import Pool
from streaming.store import queries

HoldScope = Literal["everything", "channel", "stream"]


async def place_hold(
    pool: Pool, hold_id: UUID, scope: HoldScope, subject_id: UUID | None, *, reason: str, placed_by: str
) -> bool:
    """Keep everything, a channel's streams or one stream; waits for what is being purged or erased.

    The answer is whether it came in time: False when the stream is not there (any more), or the channel is unknown or
    was deleted, so that some of its streams may be gone. The hold stands either way. The same again changes nothing.
    """
    async with pool.acquire() as connection, connection.transaction():
        await queries.place_stream_hold(
            connection, hold_id=hold_id, scope=scope, subject_id=subject_id, reason=reason, placed_by=placed_by
        )
        # A statement of its own: the first may have waited, and sees nothing of what was erased meanwhile.
        return bool(await queries.is_subject_there(connection, scope=scope, subject_id=subject_id))


async def release_hold(pool: Pool, hold_id: UUID, *, released_by: str) -> bool:
    """Let go; whether it was in force."""
    return bool(await queries.release_stream_hold(pool, hold_id=hold_id, released_by=released_by))
