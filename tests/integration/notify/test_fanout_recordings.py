"""Recordings are told to those who want to hear of them, once, and on after their stream has ended."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from events import EndReason, RecordingPublished, StreamEnded
from notify.fanout_store import FanoutState
from notify.notices import recording_notice_id
from runtime.ids import uuid7, uuid7_time
from runtime.postgres import Pool
from tests.integration.notify.by_hand import ByHand, ids, started_at
from tests.integration.notify.processes import Person, notices_by_person, seed

ADA = Person("ada")
NOW = datetime.now(UTC)


def published(stream_id: UUID, at: datetime = NOW) -> RecordingPublished:
    return RecordingPublished(
        stream_id=stream_id,
        channel_id=ADA.user_id,
        duration_seconds=60,
        playback_path=f"/recordings/{stream_id}/master.m3u8",
        published_at=at,
    )


async def opt_in(pool: Pool) -> None:
    """Of five followers: the first wants all recordings, the second Ada's, the third all but Ada's."""
    everybody = ids(5)
    await seed(pool, ADA, everybody)
    for fan in (everybody[0], everybody[2]):
        await pool.execute("INSERT INTO preferences (user_id, recordings) VALUES ($1, true)", fan)
    await pool.execute("UPDATE follows SET recordings = true WHERE follower_id = $1", everybody[1])
    await pool.execute("UPDATE follows SET recordings = false WHERE follower_id = $1", everybody[2])


async def test_those_who_want_recordings_are_told_once_although_the_stream_is_over(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await opt_in(pool)
    stream = started_at(ADA, NOW - timedelta(hours=1), category="go")
    await by_hand.begin(stream)
    event = published(stream.stream_id)
    again = published(stream.stream_id, NOW + timedelta(seconds=1))
    for one in (event, event, again):
        await by_hand.announce_recording(one)
        await by_hand.begin_recording(one)
    over = StreamEnded(
        stream_id=stream.stream_id,
        channel_id=ADA.user_id,
        started_at=NOW - timedelta(hours=1),
        ended_at=NOW,
        reason=EndReason.STREAMER,
    )
    await by_hand.end(over)
    await by_hand.tell_all()
    fanout_id = recording_notice_id(stream.stream_id, NOW)
    assert await notices_by_person(pool, fanout_id) == {ids(5)[0]: 1, ids(5)[1]: 1}
    assert (await by_hand.stands(stream.stream_id)).state is FanoutState.ENDED
    stands = await by_hand.stands(fanout_id)
    assert (stands.state, stands.kind, stands.stream_id) == (
        FanoutState.COMPLETED,
        "recording.published",
        stream.stream_id,
    )
    [live] = by_hand.heard.live
    assert (live.notification_id, live.kind, live.title) == (fanout_id, "recording.published", "chess")
    assert (live.channel_name, live.category, live.created_at) == ("ada", "go", NOW)
    assert await pool.fetchval("SELECT count(*) FROM notices_other_months") == 0


async def test_recordings_are_neither_cooled_down_nor_counted_as_streams(pool: Pool) -> None:
    by_hand = ByHand(pool)
    await opt_in(pool)
    events = [published(uuid7(), NOW + timedelta(seconds=second)) for second in range(5)]
    for event in events:
        await by_hand.begin_recording(event)
    await by_hand.tell_all()
    assert await pool.fetchval("SELECT count(*) FROM notices") == 10
    first = await by_hand.stands(recording_notice_id(events[0].stream_id, NOW))
    assert (first.channel_name, first.title) == ("ada", "")


def test_the_id_of_a_recordings_notice_is_a_uuid7_of_its_moment_and_always_the_same() -> None:
    stream_id = uuid7()
    made = recording_notice_id(stream_id, NOW)
    assert made == recording_notice_id(stream_id, NOW)
    assert made != recording_notice_id(uuid7(), NOW)
    assert abs(uuid7_time(made) - NOW) <= timedelta(milliseconds=1)
    assert made.variant == "specified in RFC 4122"
