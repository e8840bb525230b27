"""What the archive hears of streams: twice or in any order, and it never takes back what an owner has written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from archive.intake import on_stream_ended, on_stream_started, on_stream_updated
from events import EndReason, Envelope, StreamEnded, StreamStarted, StreamUpdated, Visibility
from runtime.ids import uuid7
from tests.integration.archive.house import CHANNEL, House

STARTED_AT = datetime(2026, 5, 1, 20, 0, tzinfo=UTC)
ENDED_AT = STARTED_AT + timedelta(hours=2)
CHANGED = "recording.visibility-changed"


async def hear(house: House, event: StreamStarted | StreamUpdated | StreamEnded) -> None:
    async with house.outbox.transaction() as transaction:
        if isinstance(event, StreamStarted):
            await on_stream_started(transaction, Envelope(uuid7(), "streaming", ENDED_AT, event))
        elif isinstance(event, StreamUpdated):
            await on_stream_updated(transaction, Envelope(uuid7(), "streaming", ENDED_AT, event))
        else:
            await on_stream_ended(transaction, Envelope(uuid7(), "streaming", ENDED_AT, event))


def started(stream_id: UUID, title: str = "Engines", visibility: Visibility = Visibility.PUBLIC) -> StreamStarted:
    return StreamStarted(
        stream_id=stream_id,
        channel_id=CHANNEL,
        channel_name="ada",
        title=title,
        visibility=visibility,
        started_at=STARTED_AT,
    )


def updated(stream_id: UUID, title: str, visibility: Visibility, before: Visibility | None = None) -> StreamUpdated:
    return StreamUpdated(
        stream_id=stream_id,
        channel_id=CHANNEL,
        title=title,
        category=None,
        tags=(),
        language=None,
        visibility=visibility,
        visibility_before=before,
        updated_at=STARTED_AT + timedelta(minutes=5),
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


async def test_a_recording_begins_with_the_visibility_of_its_stream_and_follows_it(house: House) -> None:
    stream_id = uuid7()
    await hear(house, started(stream_id, visibility=Visibility.PRIVATE))
    assert (await house.recording(stream_id)).visibility == "private"
    await hear(house, updated(stream_id, "Steam engines", Visibility.PUBLIC, Visibility.PRIVATE))
    recording = await house.recording(stream_id)
    assert (recording.title, recording.visibility) == ("Steam engines", "public")

    # What the owner has said of the recording is not taken back by a stream that is only called something else.
    await house.pool.execute(
        "update recordings set title = 'Mine', title_edited_at = now(), visibility = 'unlisted' where stream_id = $1",
        stream_id,
    )
    await hear(house, updated(stream_id, "Electric engines", Visibility.PUBLIC))
    recording = await house.recording(stream_id)
    assert (recording.title, recording.visibility) == ("Mine", "unlisted")
    said = await house.pool.fetch("select convert_from(data, 'UTF8') as data from outbox where type = $1", CHANGED)
    assert len(said) == 1 and '"public"' in said[0]["data"]


async def test_a_stream_that_was_heard_of_at_its_end_first_is_as_private_as_it_was(house: House) -> None:
    stream_id = uuid7()
    await hear(house, ended(stream_id))
    await hear(house, started(stream_id, visibility=Visibility.PRIVATE))
    assert (await house.recording(stream_id)).visibility == "private"
