"""The reaper: who left is given the grace, who fell silent is noticed, and nobody is punished for our own absence."""

import asyncio
from datetime import timedelta

import pytest

from deploy.local.edge import UPDATE_SECONDS
from streaming.ingest.commands import Session
from streaming.lifecycle import reconciler
from streaming.lifecycle.reaper import PASS_SECONDS, Reaper
from streaming.lifecycle.reconciler import TOUCH_SECONDS, Reconciler
from streaming.servers.media_server import MediaServers, Publisher
from streaming.settings import StreamingSettings
from tests.integration.streaming.studio import SERVER, MediaServerTwin, Studio

TRUTH_SECONDS_MAX = 15.0
SIGN_SECONDS_MAX = max(
    # a hook that is answered just in time, and an answer to a look that is
    UPDATE_SECONDS + StreamingSettings.model_fields["streaming_hook_seconds_max"].default,
    TOUCH_SECONDS + reconciler.PASS_SECONDS + reconciler.LOOK_SECONDS_MAX,
)


class Clock:
    """A process's clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def pretend_interrupted(studio: Studio, seconds_ago: float) -> None:
    past = timedelta(seconds=seconds_ago)
    await studio.pool.execute("UPDATE open_streams SET interrupted_at = clock_timestamp() - $1::interval", past)


async def pretend_seen(studio: Studio, seconds_ago: float) -> None:
    past = timedelta(seconds=seconds_ago)
    await studio.pool.execute("UPDATE open_streams SET seen_at = clock_timestamp() - $1::interval", past)


async def listen(reaper: Reaper, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        await reaper.reap()
        clock.now += 1


async def test_an_interrupted_stream_ends_when_its_grace_is_over(studio: Studio) -> None:
    channel_id, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    await studio.gone(key)
    clock = Clock()
    reaper = studio.reaper(grace_seconds=30, silence_seconds=20, clock=clock)
    await listen(reaper, clock, 40)
    await pretend_interrupted(studio, 15)
    assert await reaper.reap() == 0
    await pretend_interrupted(studio, 30)
    assert await reaper.reap() == 1
    view = await studio.stream(stream_id)
    assert (view["status"], view["end_reason"], view["playback_url"]) == ("ended", "grace-over", None)
    [ended] = await studio.said("stream.ended")
    assert (ended["stream_id"], ended["channel_id"], ended["reason"]) == (stream_id, str(channel_id), "grace-over")


async def test_after_the_end_the_key_begins_another_stream(studio: Studio) -> None:
    _, key = await studio.channel()
    _, first = await studio.publish(key)
    await studio.gone(key)
    assert await studio.reaper(grace_seconds=0, silence_seconds=60).reap() == 1
    assert await studio.alive(key) == 403
    _, second = await studio.publish(key, 2)
    assert second != first
    assert [event["type"] for event in await studio.said()] == ["stream.started", "stream.ended", "stream.started"]


async def test_a_silent_publisher_is_interrupted_then_ended_then_dropped_if_it_wakes(studio: Studio) -> None:
    _, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    reaper = studio.reaper(grace_seconds=0, silence_seconds=0)
    assert await reaper.reap() == 1
    assert (await studio.stream(stream_id))["status"] == "interrupted"
    assert await reaper.reap() == 1
    assert (await studio.stream(stream_id))["end_reason"] == "silent"
    assert await studio.alive(key) == 403


async def test_a_silent_publisher_that_is_heard_again_goes_on(studio: Studio) -> None:
    _, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    await studio.reaper(grace_seconds=30, silence_seconds=0).reap()
    assert await studio.alive(key) == 200
    assert (await studio.stream(stream_id))["status"] == "live"
    assert len(await studio.said()) == 1


async def test_who_has_just_begun_to_listen_takes_nobodys_silence_for_absence(studio: Studio) -> None:
    _, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    await pretend_seen(studio, 3_600)
    clock = Clock()
    reaper = studio.reaper(grace_seconds=30, silence_seconds=20, clock=clock)
    await listen(reaper, clock, 20)
    assert (await studio.stream(stream_id))["status"] == "live"
    await reaper.reap()
    assert (await studio.stream(stream_id))["status"] == "interrupted"


@pytest.mark.parametrize(
    ("age_seconds", "status"),
    [(SIGN_SECONDS_MAX, "live"), (TRUTH_SECONDS_MAX - 2 * PASS_SECONDS, "interrupted")],
)
async def test_who_died_without_a_word_is_noticed_within_15_s_and_a_slow_sign_of_life_is_not_awaited_in_vain(
    studio: Studio, age_seconds: float, status: str
) -> None:
    _, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    clock = Clock()
    silence_seconds = StreamingSettings.model_fields["streaming_silence_seconds"].default
    reaper = studio.reaper(grace_seconds=30, silence_seconds=silence_seconds, clock=clock)
    await listen(reaper, clock, 15)
    await pretend_seen(studio, age_seconds)
    await reaper.reap()
    assert (await studio.stream(stream_id))["status"] == status


async def test_a_publisher_that_no_hook_tells_of_lives_by_its_media_servers_answers(studio: Studio) -> None:
    """SRS, MediaMTX and Ant Media send nothing between a publish and its end."""
    keys = [(await studio.channel(name))[1] for name in ("ada", "bob")]
    told, left_out = [(await studio.publish(key, client))[1] for client, key in enumerate(keys, start=1)]
    media_server = studio.media_server
    assert isinstance(media_server, MediaServerTwin)
    media_server.publishing = [Publisher("1", publishing_seconds=None)]
    asking = Reconciler(
        studio.outbox, studio.pool, MediaServers({SERVER: media_server}), absence_seconds=3_600, on_change=_nothing
    )
    clock = Clock()
    reaper = studio.reaper(grace_seconds=30, silence_seconds=20, clock=clock)
    await listen(reaper, clock, 20)
    await pretend_seen(studio, 20 + TOUCH_SECONDS)
    await asking.reconcile(SERVER)
    await reaper.reap()
    assert (await studio.stream(told))["status"] == "live"
    assert (await studio.stream(left_out))["status"] == "interrupted"


class SlowToLetGo(MediaServerTwin):
    """A media server that lets go of nobody before it has been told of all."""

    def __init__(self, strangers: int) -> None:
        super().__init__()
        self.publishing = [Publisher(str(number), publishing_seconds=None) for number in range(strangers)]
        self._told_of_all = asyncio.Barrier(strangers)

    async def drop(self, session: Session) -> bool:
        await self._told_of_all.wait()
        return await super().drop(session)


async def test_strangers_that_are_slow_to_leave_keep_nobody_from_being_looked_at(studio: Studio) -> None:
    """One after another they would take longer than silence is borne, at this media server and at all others."""
    media_server = SlowToLetGo(strangers=3)
    asking = Reconciler(
        studio.outbox, studio.pool, MediaServers({SERVER: media_server}), absence_seconds=0, on_change=_nothing
    )
    await asking.reconcile(SERVER)
    assert sorted(session.client for session in media_server.dropped) == ["0", "1", "2"]


async def test_who_was_stopped_for_a_while_begins_to_listen_anew(studio: Studio) -> None:
    _, key = await studio.channel()
    _, stream_id = await studio.publish(key)
    clock = Clock()
    reaper = studio.reaper(grace_seconds=30, silence_seconds=20, clock=clock)
    await listen(reaper, clock, 60)
    clock.now += 120
    await pretend_seen(studio, 120)
    await listen(reaper, clock, 20)
    assert (await studio.stream(stream_id))["status"] == "live"
    await reaper.reap()
    assert (await studio.stream(stream_id))["status"] == "interrupted"


async def test_reapers_that_race_end_each_stream_once(studio: Studio) -> None:
    for number in range(30):
        _, key = await studio.channel(f"channel{number}")
        await studio.publish(key, number)
        await studio.gone(key, number)
    reapers = [studio.reaper(grace_seconds=0, silence_seconds=0) for _ in range(5)]
    reaped = await asyncio.gather(*(reaper.reap() for reaper in reapers))
    ended = [event["stream_id"] for event in await studio.said("stream.ended")]
    assert len(ended) == len(set(ended)) == 30
    assert sum(reaped) == 30


async def test_a_publisher_and_a_reaper_that_race_agree(studio: Studio) -> None:
    _, key = await studio.channel()
    reaper = studio.reaper(grace_seconds=0, silence_seconds=60)
    for round_number in range(10):
        _, before = await studio.publish(key, round_number)
        await studio.gone(key, round_number)
        (_, after), _ = await asyncio.gather(studio.publish(key, 100 + round_number), reaper.reap())
        view = await studio.stream(before)
        assert (view["status"] == "ended") == (after != before)
        assert (await studio.stream(after))["status"] == "live"
    started = await studio.said("stream.started")
    ended = await studio.said("stream.ended")
    assert len(started) == len(ended) + 1


def _nothing() -> None:
    pass
