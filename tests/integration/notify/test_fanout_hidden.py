"""Nobody is told of streams and recordings that are not public, until they are; and then once."""

from datetime import UTC, datetime

import pytest

from events import RecordingPublished, StreamStarted, StreamUpdated, Visibility
from runtime.postgres import Pool
from tests.integration.notify.by_hand import ByHand, ids, started_at
from tests.integration.notify.processes import Person, notices_by_person, seed

ADA = Person("ada")


def updated(stream: StreamStarted, visibility: Visibility, before: Visibility | None) -> StreamUpdated:
    return StreamUpdated(
        stream_id=stream.stream_id,
        channel_id=stream.channel_id,
        title="public chess",
        category=None,
        tags=(),
        language=None,
        visibility=visibility,
        visibility_before=before,
        updated_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("hidden", [Visibility.UNLISTED, Visibility.PRIVATE])
async def test_a_hidden_stream_is_told_of_when_it_becomes_public_and_once(pool: Pool, hidden: Visibility) -> None:
    by_hand = ByHand(pool)
    await seed(pool, ADA, ids(3))
    stream = started_at(ADA, datetime.now(UTC)).model_copy(update={"visibility": hidden})
    private = updated(stream, Visibility.PRIVATE, Visibility.UNLISTED)
    await by_hand.announce(stream)
    await by_hand.begin(stream)
    await by_hand.announce_published(private)
    await by_hand.begin_published(private)
    assert (by_hand.heard.live, await by_hand.pages()) == ([], [])

    public = updated(stream, Visibility.PUBLIC, hidden)
    for one in (public, updated(stream, Visibility.PUBLIC, None), public):
        await by_hand.announce_published(one)
        await by_hand.begin_published(one)
    await by_hand.tell_all()
    assert await notices_by_person(pool, stream.stream_id) == dict.fromkeys(ids(3), 1)
    assert [(notice.title, notice.channel_name) for notice in by_hand.heard.live] == [("public chess", "ada")]


async def test_a_stream_that_was_told_of_is_not_told_of_again(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await seed(pool, ADA, ids(3))
    stream = started_at(ADA, datetime.now(UTC))
    await by_hand.announce(stream)
    await by_hand.begin(stream)
    again = updated(stream, Visibility.PUBLIC, Visibility.PRIVATE)
    await by_hand.announce_published(again)
    await by_hand.begin_published(again)
    await by_hand.tell_all()
    assert await notices_by_person(pool, stream.stream_id) == dict.fromkeys(ids(3), 1)
    assert [notice.title for notice in by_hand.heard.live] == ["chess"]


async def test_a_hidden_recording_is_told_to_nobody(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await seed(pool, ADA, ids(2))
    await pool.execute("UPDATE follows SET recordings = true")
    stream = started_at(ADA, datetime.now(UTC))
    event = RecordingPublished(
        stream_id=stream.stream_id,
        channel_id=ADA.user_id,
        duration_seconds=60,
        playback_path=f"/recordings/{stream.stream_id}/master.m3u8",
        published_at=datetime.now(UTC),
        visibility=Visibility.PRIVATE,
    )
    await by_hand.announce_recording(event)
    await by_hand.begin_recording(event)
    assert (by_hand.heard.live, await by_hand.pages()) == ([], [])
