"""How far a recording's ladder is: a percentage in its row, and an event at each full tenth."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from archive.store import QUERIES
from eventbus.outbox import Transaction
from events import RecordingProgressed


async def note_progress(transaction: Transaction, stream_id: UUID, *, number: int = -1) -> None:
    """Write down how much of the chunks is done, chunk ``number`` with them, and say so if a tenth is full.

    The row changes with the percentage, a hundred times at most, so that workers that finish chunks of one recording
    hardly ever wait for each other. While the stream runs nobody knows how much there will be: nothing is noted.
    """
    row = await QUERIES.note_progress(transaction.connection, stream_id=stream_id, number=number)
    if row is None or row["percent"] // 10 == row["percent_before"] // 10:
        return
    await transaction.say(
        RecordingProgressed(
            stream_id=stream_id,
            channel_id=row["channel_id"],
            percent=row["percent"] // 10 * 10,
            progressed_at=datetime.now(UTC),
        )
    )
