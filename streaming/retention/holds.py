"""Holds that the console places on streams, beside those of the archive and of chat."""

from typing import Literal
from uuid import UUID

from runtime.postgres import Pool
from streaming.store import queries

HoldScope = Literal["everything", "channel", "stream"]


async def place_hold(
    pool: Pool, hold_id: UUID, scope: HoldScope, subject_id: UUID | None, *, reason: str, placed_by: str
) -> None:
    """Keep everything, a channel's streams or one stream; waits for what is being purged.

    The same hold again changes nothing.
    """
    await queries.place_stream_hold(
        pool, hold_id=hold_id, scope=scope, subject_id=subject_id, reason=reason, placed_by=placed_by
    )


async def release_hold(pool: Pool, hold_id: UUID, *, released_by: str) -> bool:
    """Let go; whether it was in force."""
    return bool(await queries.release_stream_hold(pool, hold_id=hold_id, released_by=released_by))
