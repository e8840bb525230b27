"""Redis dies, freezes, comes back: the inbox goes on, and the connected are caught up, each once."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import asyncpg
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from structlog.testing import capture_logs

from deploy.local import Stack
from eventbus.bus_memory import MemoryBus
from notify.announcer import RedisChannels
from notify.notices import stream_notice
from runtime.postgres import Pool
from tests.engines import Database
from tests.integration.notify.conftest import StartNotify
from tests.integration.notify.processes import (
    Listener,
    Person,
    eventually,
    fanout_is_complete,
    say,
    seed,
    started,
)

ADA, BOB, CY, EVE = Person("ada"), Person("bob"), Person("cy"), Person("eve")
SILENCE_SECONDS = 0.6


@pytest.fixture
def stack(own_stack: Callable[..., Stack]) -> Stack:
    """A Redis of the test's own."""
    return own_stack("redis")


@pytest.fixture(autouse=True)
async def bob_follows_ada(pool: Pool) -> None:
    await seed(pool, ADA, [BOB.user_id])


def has_heard(listener: Listener, count: int) -> bool:
    return len(listener.stream_ids) >= count


def subscribed() -> float | None:
    return REGISTRY.get_sample_value("livestream_notify_live_subscribed")


async def stays_subscribed() -> bool:
    """Whether Redis is not lost while it is quiet for longer than it may be silent.

    Only once is enough: a machine that stands still for so long makes everything silent.
    """
    with capture_logs() as told:
        await asyncio.sleep(SILENCE_SECONDS * 2)
    return subscribed() == 1 and "live_redis_lost" not in [one["event"] for one in told]


async def test_a_redis_that_dies_and_comes_back_costs_no_notice_and_doubles_none(
    start_notify: StartNotify, stack: Stack, bus: MemoryBus, pool: Pool
) -> None:
    url = stack.environment()["LIVESTREAM_REDIS_URL"]
    here, there = await start_notify(redis_url=url), await start_notify(redis_url=url)
    listeners = [await here.listen(BOB), await there.listen(BOB)]
    await seed(pool, ADA, [CY.user_id])
    cy, eve = await there.listen(CY), await there.listen(EVE)
    before, meanwhile, after = started(ADA), started(ADA), started(ADA)
    await say(bus, before)
    for listener in [*listeners, cy]:
        await eventually(partial(has_heard, listener, 1))

    await asyncio.to_thread(stack.kill, "redis")
    status, answer = await here.call("PATCH", f"/api/follows/{ADA.user_id}", CY, json={"muted": True})
    assert (status, answer["muted"]) == (200, True)
    await say(bus, meanwhile)
    for event in (before, meanwhile):  # pages of two fan-outs overtake each other
        await eventually(partial(fanout_is_complete, pool, event.stream_id))
    await seed(pool, ADA, [EVE.user_id], ago=timedelta(0))  # at a process that could not say so
    assert [notice["stream_id"] for notice in await here.notices(BOB)] == [
        str(meanwhile.stream_id),
        str(before.stream_id),
    ]
    await asyncio.to_thread(stack.start, "redis")
    for listener in listeners:
        await eventually(partial(has_heard, listener, 2))
    await eventually(lambda: subscribed() == 1)
    after = started(ADA)
    await say(bus, after)
    # what Eve did while Redis was away counts, and what came before she followed does not
    await eventually(partial(has_heard, eve, 1))
    for listener in listeners:
        await eventually(partial(has_heard, listener, 3))
    await eventually(lambda: fanout_is_complete(pool, after.stream_id))
    for listener in listeners:
        assert listener.stream_ids == [str(event.stream_id) for event in (before, meanwhile, after)]
    assert eve.stream_ids == [str(after.stream_id)]
    assert cy.stream_ids == [str(before.stream_id)]


async def test_a_frozen_redis_is_noticed_by_its_silence_and_caught_up_with(
    start_notify: StartNotify, stack: Stack, bus: MemoryBus, pool: Pool
) -> None:
    notify = await start_notify(
        redis_url=stack.environment()["LIVESTREAM_REDIS_URL"],
        notify_live_silence_seconds_max=SILENCE_SECONDS,
        notify_live_publish_seconds_max=0.2,
    )
    bob = await notify.listen(BOB)
    await eventually(stays_subscribed)
    event = started(ADA)
    os.kill(stack.pid("redis"), signal.SIGSTOP)
    try:
        await say(bus, event)
        await eventually(lambda: fanout_is_complete(pool, event.stream_id))
        await eventually(lambda: subscribed() == 0)
        assert bob.stream_ids == []
    finally:
        os.kill(stack.pid("redis"), signal.SIGCONT)
    await eventually(partial(has_heard, bob, 1))
    later = started(ADA)
    await eventually(lambda: subscribed() == 1)
    await say(bus, later)
    await eventually(partial(has_heard, bob, 2))
    assert bob.stream_ids == [str(event.stream_id), str(later.stream_id)]


async def test_what_comes_before_the_follows_are_read_again_is_told_to_those_who_want_it_by_then(
    start_notify: StartNotify, stack: Stack, pool: Pool, database: Database, redis_prefix: str
) -> None:
    url = stack.environment()["LIVESTREAM_REDIS_URL"]
    await seed(pool, ADA, [CY.user_id])
    notify = await start_notify(redis_url=url)
    bob, cy = await notify.listen(BOB), await notify.listen(CY)
    holder = await asyncpg.connect(database.url)
    async with Redis.from_url(url) as redis:
        try:
            async with holder.transaction():
                await holder.execute("SET LOCAL search_path = notify")
                await holder.execute("LOCK TABLE follows IN ACCESS EXCLUSIVE MODE")
                await asyncio.to_thread(stack.kill, "redis")
                await eventually(lambda: subscribed() == 0)
                await asyncio.to_thread(stack.start, "redis")
                await eventually(lambda: subscribed() == 1)
                event = started(ADA)
                await redis.publish(RedisChannels(redis_prefix).live, stream_notice(event).model_dump_json())
                await holder.execute("UPDATE follows SET muted = true WHERE follower_id = $1", CY.user_id)
        finally:
            await holder.close()
    await eventually(partial(has_heard, bob, 1))
    assert (bob.stream_ids, cy.stream_ids) == ([str(event.stream_id)], [])
