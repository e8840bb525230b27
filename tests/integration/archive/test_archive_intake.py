"""What the archive hears of streams: twice or in any order, and it never takes back what an owner has written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from archive.intake import on_stream_ended, on_stream_started
from events import EndReason, Envelope, StreamEnded, StreamStarted
from runtime.ids import uuid7
from tests.integration.archive.house import CHANNEL, House

STARTED_AT = datetime(2026, 5, 1, 20, 0, tzinfo=UTC)
ENDED_AT = STARTED_AT + timedelta(hours=2)


async def hear(house: House, event: StreamStarted | StreamEnded) -> None:
    async with house.outbox.transaction() as transaction:
        if isinstance(event, StreamStarted):
            await on_stream_started(transaction, Envelope(uuid7(), "streaming", ENDED_AT, event))
        else:
            await on_stream_ended(transaction, Envelope(uuid7(), "streaming", ENDED_AT, event))


def started(stream_id: UUID, title: str = "Engines") -> StreamStarted:
    return StreamStarted(
        stream_id=stream_id, channel_id=CHANNEL, channel_name="ada", title=title, started_at=STARTED_AT
    )


def ended(stream_id: UUID, *, late: timedelta = timedelta(0)) -> StreamEnded:
    return StreamEnded(
        stream_id=stream_id,
        channel_id=CHANNEL,
        started_at=STARTED_AT,
        ended_at=ENDED_AT + late,
        reason=EndReason.STREAMER,
    )


async def test_whatever_order_they_come_in_there_is_one_recording_that_is_over(house: House) -> None:
    for order in permutations("sse"):
        stream_id = uuid7()
        for one in [*order, *order]:
            await hear(house, started(stream_id) if one == "s" else ended(stream_id))
        recording = await house.recording(stream_id)
        assert (recording.title, recording.channel_name) == ("Engines", "ada")
        assert (recording.started_at, recording.ended_at) == (STARTED_AT, ENDED_AT)
        assert (recording.status, recording.visibility) == ("pending", "public")


async def test_the_first_end_counts(house: House) -> None:
    stream_id = uuid7()
    await hear(house, ended(stream_id))
    await hear(house, ended(stream_id, late=timedelta(hours=1)))
    assert (await house.recording(stream_id)).ended_at == ENDED_AT


async def test_a_title_that_its_owner_has_edited_stays(house: House) -> None:
    stream_id = uuid7()
    await hear(house, started(stream_id, "Engines"))
    await hear(house, started(stream_id, "Steam engines"))
    assert (await house.recording(stream_id)).title == "Steam engines"
    await house.pool.execute(
        "update recordings set title = 'Mine', title_edited_at = now() where stream_id = $1", stream_id
    )
    await hear(house, started(stream_id, "Engines"))
    await hear(house, ended(stream_id))
    assert (await house.recording(stream_id)).title == "Mine"
