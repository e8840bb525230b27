"""Hooks against the database: whatever comes, in whatever order and how often, a channel has one true stream."""

import asyncio
import random

import pytest

from streaming.ingest.commands import Session
from streaming.ingest.hooks import HookPath
from streaming.servers.media_server import Publisher
from tests import engines
from tests.integration.streaming.studio import SERVER, MediaServerTwin, Studio, open_studio
from tests.unit.streaming.captured import captured_bodies, captured_call

SECOND = Session(SERVER, "2")


async def statuses(studio: Studio) -> list[str]:
    return [row["status"] for row in await studio.rows("SELECT status FROM streams ORDER BY stream_id")]


async def test_a_publish_makes_a_stream_and_says_so(studio: Studio) -> None:
    channel_id, key = await studio.channel("ada")
    status, stream_id = await studio.publish(key)
    assert status == 302
    view = await studio.stream(stream_id)
    assert (view["status"], view["channel_name"], view["title"]) == ("live", "ada", "ada is live")
    [said] = await studio.said()
    assert said["type"] == "stream.started"
    assert (said["stream_id"], said["channel_id"]) == (stream_id, str(channel_id))
    assert said["started_at"] == view["started_at"]


async def test_a_wrong_key_is_refused_and_leaves_nothing(studio: Studio) -> None:
    await studio.channel()
    assert (await studio.publish("sk_wrong"))[0] == 403
    assert await statuses(studio) == []
    assert await studio.said() == []


async def test_the_captured_requests_get_their_answers(studio: Studio) -> None:
    for key in ("goodkey", "sk_secret", "kickme", "mykey"):
        await studio.channel(key=key)
    accepted = {"connect": 200, "publish": 302}
    for number, body in enumerate(captured_bodies()):
        status, _ = await studio.hook(body)
        refused = b"name=victim" in body or b"name=badkey" in body
        expected = 403 if refused else accepted.get(captured_call(body), 200)
        assert status == expected, f"request {number}: {body.decode()}"
    assert len(await statuses(studio)) == 3
    assert len(await studio.said("stream.started")) == 3
    assert set(await statuses(studio)) == {"interrupted"}


async def test_a_publisher_that_comes_back_has_the_same_stream(studio: Studio) -> None:
    _, key = await studio.channel()
    _, first = await studio.publish(key, 1)
    assert await studio.gone(key, 1) == 200
    assert (await studio.stream(first))["status"] == "interrupted"
    status, second = await studio.publish(key, 2)
    assert (status, second) == (302, first)
    assert (await studio.stream(first))["status"] == "live"
    assert len(await studio.said()) == 1
    assert isinstance(studio.media_server, MediaServerTwin)
    assert studio.media_server.dropped == []


async def test_a_second_publisher_takes_over_and_the_first_is_dropped(studio: Studio) -> None:
    _, key = await studio.channel()
    _, first = await studio.publish(key, 1)
    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.publishing = [Publisher("1", 60)]
    assert await studio.publish(key, 2) == (302, first)
    assert studio.media_server.dropped == [Session(SERVER, "1")]
    assert await studio.gone(key, 1) == 200  # of the dropped one, late
    assert (await studio.stream(first))["status"] == "live"
    assert await studio.alive(key, 1) == 403
    assert await studio.alive(key, 2) == 200


async def test_a_takeover_goes_on_without_the_media_server(studio: Studio) -> None:
    _, key = await studio.channel()
    _, first = await studio.publish(key, 1)
    assert isinstance(studio.media_server, MediaServerTwin)
    studio.media_server.away = True
    assert await studio.publish(key, 2) == (302, first)
    assert await studio.alive(key, 1) == 403


async def test_a_replaced_key_is_good_for_whoever_is_on_and_for_nobody_new(studio: Studio) -> None:
    channel_id, key = await studio.channel()
    await studio.publish(key)
    assert await studio.alive(key) == 200
    await studio.pool.execute("UPDATE channels SET stream_key_hash = NULL WHERE channel_id = $1", channel_id)
    assert await studio.alive(key) == 200
    assert (await studio.publish(key, 2))[0] == 403
    assert await studio.gone(key) == 200
    assert await statuses(studio) == ["interrupted"]


async def test_signs_of_life_of_nobody_are_refused(studio: Studio) -> None:
    _, key = await studio.channel()
    assert await studio.alive(key) == 403
    assert await studio.gone(key) == 200
    assert await statuses(studio) == []


@pytest.mark.parametrize("publishers", [2, 20])
async def test_publishes_that_race_make_one_stream(studio: Studio, publishers: int) -> None:
    _, key = await studio.channel()
    answers = await asyncio.gather(*(studio.publish(key, client) for client in range(publishers)))
    assert {status for status, _ in answers} == {302}
    assert len({stream_id for _, stream_id in answers}) == 1
    assert await statuses(studio) == ["live"]
    assert len(await studio.said("stream.started")) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_hooks_in_any_order_and_all_at_once(studio: Studio, seed: int) -> None:
    dice = random.Random(seed)
    keys = [(await studio.channel(f"channel{number}"))[1] for number in range(3)]
    reaper = studio.reaper(grace_seconds=0, silence_seconds=0)

    async def anything() -> int:
        key, client = dice.choice(keys), dice.randint(1, 3)
        match dice.randint(0, 9):
            case 0 | 1 | 2:
                return (await studio.publish(key, client))[0]
            case 3 | 4:
                return await studio.alive(key, client, dice.randint(0, 9))
            case 5 | 6 | 7:
                return await studio.gone(key, client)
            case 8:
                await reaper.reap()
                return 200
            case _:
                return (await studio.hook(dice.choice(captured_bodies())))[0]

    for _ in range(12):
        answers = await asyncio.gather(*(anything() for _ in range(10)))
        assert set(answers) <= {200, 302, 403}

    started = [event["stream_id"] for event in await studio.said("stream.started")]
    ended = [event["stream_id"] for event in await studio.said("stream.ended")]
    rows = await studio.rows("SELECT stream_id::text, status FROM streams")
    assert sorted(started) == sorted(row["stream_id"] for row in rows)
    assert len(set(started)) == len(started)
    assert sorted(ended) == sorted(row["stream_id"] for row in rows if row["status"] == "ended")
    assert len(set(ended)) == len(ended)
    still_open = await studio.rows("SELECT stream_id, status FROM open_streams ORDER BY stream_id")
    not_ended = await studio.rows("SELECT stream_id, status FROM streams WHERE status <> 'ended' ORDER BY stream_id")
    assert still_open == not_ended


async def test_without_the_database_a_stream_goes_on(database: engines.Database) -> None:
    async with open_studio(database.dsn, hook_seconds_max=4) as studio:
        _, key = await studio.channel()
        await studio.publish(key)
        async with studio.pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE open_streams")
            # nobody answers in time, yet the publisher is told to go on
            assert await studio.alive(key) == 200
        assert await studio.alive(key) == 200


def test_the_secret_is_in_no_repr() -> None:
    assert "abc" not in repr(HookPath.model_validate({"secret": "abc"}))
