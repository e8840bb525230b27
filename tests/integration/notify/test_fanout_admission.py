"""Whether a stream's start is told at all: decided once, the same for both lanes, whatever is repeated."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from notify import fanout_store, store
from notify.fanout_store import FanoutState
from notify.notices import least_notice_id, stream_notice
from runtime.postgres import Pool
from tests.integration.notify.by_hand import LIMITS, ByHand, ids, started_at
from tests.integration.notify.processes import Person, notices_by_person, seed

ADA, BOB = Person("ada"), Person("bob")
NOW = datetime.now(UTC)


@pytest.fixture
def by_hand(pool: Pool) -> ByHand:
    """A cool-down of ten minutes, three streams a day."""
    return ByHand(pool, replace(LIMITS, cool_down=timedelta(minutes=10), day_fanouts=3))


async def test_a_channel_that_restarts_within_the_cool_down_pages_nobody_twice(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(5))
    streams = [started_at(ADA, NOW + timedelta(minutes=minutes)) for minutes in (0, 5, 9.9, 10)]
    for stream in streams:
        await by_hand.announce(stream)
        await by_hand.begin(stream)
    await by_hand.tell_all()
    told = [len(await notices_by_person(pool, stream.stream_id)) for stream in streams]
    assert told == [5, 0, 0, 5]
    assert [notice.stream_id for notice in by_hand.heard.live] == [streams[0].stream_id, streams[3].stream_id]
    second = await by_hand.stands(streams[1].stream_id)
    assert (second.state, second.suppressed_because) == (FanoutState.SUPPRESSED, "cool-down")


async def test_a_channel_tells_of_three_streams_within_24_hours(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(5))
    streams = [started_at(ADA, NOW + timedelta(hours=hours)) for hours in (0, 1, 2, 3, 24)]
    streams.append(started_at(BOB, NOW + timedelta(hours=3)))
    for stream in streams:
        await by_hand.begin(stream)
        await by_hand.announce(stream)
    stands = [await by_hand.stands(stream.stream_id) for stream in streams]
    assert [one.suppressed_because for one in stands] == [None, None, None, "daily-limit", None, None]
    assert len(by_hand.heard.live) == 5


@pytest.mark.parametrize("first", ["announce", "begin"])
async def test_both_lanes_decide_the_same_whichever_is_first(by_hand: ByHand, first: str) -> None:
    lanes = [by_hand.announce, by_hand.begin] if first == "announce" else [by_hand.begin, by_hand.announce]
    streams = [started_at(ADA, NOW), started_at(ADA, NOW + timedelta(minutes=1))]
    for lane in lanes:
        for stream in streams:
            await lane(stream)
    states = [(await by_hand.stands(stream.stream_id)).state for stream in streams]
    assert states == [FanoutState.COMPLETED, FanoutState.SUPPRESSED]
    assert [notice.stream_id for notice in by_hand.heard.live] == [streams[0].stream_id]


async def test_a_stream_that_many_hear_of_at_once_is_announced_once(by_hand: ByHand) -> None:
    stream = started_at(ADA, NOW)
    await asyncio.gather(*(lane(stream) for lane in (by_hand.announce, by_hand.begin) * 2))
    assert [notice.stream_id for notice in by_hand.heard.live] == [stream.stream_id]
    assert len(by_hand.heard.stored) == 1


async def test_the_live_lane_waits_for_nobody_who_holds_the_fanout(by_hand: ByHand, pool: Pool) -> None:
    stream = started_at(ADA, NOW)
    await by_hand.announce(started_at(BOB, NOW))
    await fanout_store.admit(pool, stream_notice(stream), LIMITS, is_live=False)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM fanouts FOR UPDATE")
        async with asyncio.timeout(5):
            await by_hand.announce(stream)
    assert [notice.stream_id for notice in by_hand.heard.live][1:] == [stream.stream_id]


async def test_a_start_that_is_said_again_pages_nobody_even_if_the_bus_forgot_it(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(45))
    stream = started_at(ADA, NOW)
    await by_hand.announce(stream)
    await by_hand.begin(stream)
    assert await by_hand.tell_all() == 5
    told = await notices_by_person(pool, stream.stream_id)
    await pool.execute("DELETE FROM notices WHERE user_id = $1", ids(1)[0])
    before = await by_hand.stands(stream.stream_id)
    for _ in range(2):
        await by_hand.announce(stream)
        await by_hand.begin(stream)
    await by_hand.tell(*await by_hand.pages())
    assert len(await by_hand.pages()) == 5
    assert len(by_hand.heard.live) == len(by_hand.heard.stored) == 1
    assert len(await notices_by_person(pool, stream.stream_id)) == len(told) - 1
    after = await by_hand.stands(stream.stream_id)
    assert replace(after, read_at=before.read_at) == before


async def test_who_comes_back_is_told_of_no_stream_that_is_suppressed_or_over(by_hand: ByHand, pool: Pool) -> None:
    await seed(pool, ADA, ids(1))
    running, suppressed = started_at(ADA, NOW), started_at(ADA, NOW + timedelta(minutes=1))
    for stream in (running, suppressed):
        await by_hand.announce(stream)

    async def missed() -> list[object]:
        found = await store.find_missed_notices(pool, ids(1), after=least_notice_id(NOW), items_max=10)
        return [notice.stream_id for notice in found.get(ids(1)[0], ())]

    assert await missed() == [running.stream_id]
    await pool.execute("UPDATE follows SET muted = true")
    assert await missed() == []
    await pool.execute("UPDATE follows SET muted = false")
    await pool.execute("UPDATE fanouts SET state = 'cancelled' WHERE fanout_id = $1", running.stream_id)
    assert await missed() == []
