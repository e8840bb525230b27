"""The master behind three Sentinels is killed, frozen or deposed: chat follows to the next one within seconds."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from runtime.redis_sentinel import SentinelRedis
from tests.integration.chat.followers import (
    Follower,
    Speaker,
    gateway_broker,
    no_silent_hole,
    plain_publishing_is_heard,
    redis_of,
)
from tests.integration.chat.gateways import eventually
from tests.integration.chat.redis_sets import FREEZE, WAKE, SentinelSet, Server, sentinel_set

pytestmark = pytest.mark.heavy

BACK_SECONDS_MAX = 10.0
"""Five are meant: this machine may be busy."""


@pytest.fixture
async def redis_set(tmp_path: Path) -> AsyncIterator[SentinelSet]:
    async with sentinel_set(tmp_path) as made:
        yield made


async def test_a_killed_master_is_followed_by_the_promoted_one(redis_set: SentinelSet) -> None:
    room = uuid4()
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        follower, speaker, over = Follower(other, room), Speaker(one, room), asyncio.Event()
        await eventually(lambda: follower.hears and follower.position is not None)
        talking = asyncio.create_task(speaker.say_until(over))
        await eventually(lambda: len(follower.seen) > 50)
        before = await redis_set.master()
        before.kill()
        after = await redis_set.promoted(before)
        promoted_at, accepted = time.monotonic(), len(speaker.accepted)
        await eventually(lambda: follower.hears and len(speaker.accepted) > accepted + 5)
        await eventually(lambda: follower.seen[-1:] == [speaker.accepted[-1][1]])
        assert time.monotonic() - promoted_at < BACK_SECONDS_MAX
        assert speaker.refused > 0
        assert speaker.slowest_refusal_seconds < 6
        # The old one comes back and says that it is the master, until it is told otherwise: nobody believes it.
        await before.start()
        assert (await before.ask("ROLE"))[0] == b"master"
        lost = follower.disconnections
        await after.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: follower.disconnections > lost and follower.hears)
        over.set()
        await talking
        await speaker.say(b"last")
        await eventually(lambda: follower.seen[-1:] == [b"last"])
        no_silent_hole(follower, speaker)
        await eventually(lambda: _all_listen_to(after, before, room))


async def test_a_frozen_master_that_wakes_deposed_is_not_believed(redis_set: SentinelSet) -> None:
    room = uuid4()
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        follower, speaker = Follower(other, room), Speaker(one, room)
        for number in range(20):
            await speaker.say(b"before-%d" % number)
        await eventually(lambda: follower.hears and len(follower.seen) == 20)
        before = await redis_set.master()
        before.signal(FREEZE)
        try:
            after = await redis_set.promoted(before)
            promoted_at = time.monotonic()
            await speaker.say(b"after")
            await eventually(lambda: follower.hears and follower.seen[-1] == b"after")
            assert time.monotonic() - promoted_at < BACK_SECONDS_MAX
        finally:
            before.signal(WAKE)
        for number in range(100):
            await speaker.say(b"woken-%d" % number)
            await asyncio.sleep(0.01)
        await eventually(lambda: follower.seen[-1] == b"woken-99")
        no_silent_hole(follower, speaker)
        await eventually(lambda: _all_listen_to(after, before, room))


async def test_a_failover_by_hand_is_followed_although_the_old_master_goes_on(redis_set: SentinelSet) -> None:
    room = uuid4()
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        follower, speaker, over = Follower(other, room), Speaker(one, room), asyncio.Event()
        await eventually(lambda: follower.hears and follower.position is not None)
        talking = asyncio.create_task(speaker.say_until(over))
        before = await redis_set.master()
        await redis_set.sentinels[0].ask("SENTINEL", "FAILOVER", "chat")
        after = await redis_set.promoted(before)
        promoted_at = time.monotonic()
        # The old one still takes what comes, and says that it is the master; nobody is left there.
        await eventually(lambda: _all_listen_to(after, before, room))
        accepted = len(speaker.accepted)
        # The speaker's gateway may find out half a second later, and what it brings to the old one until then is lost.
        await eventually(lambda: follower.seen[-1] in {body for _, body in speaker.accepted[accepted:]})
        over.set()
        await talking
        await speaker.say(b"last")
        await eventually(lambda: follower.seen[-1:] == [b"last"])
        assert time.monotonic() - promoted_at < BACK_SECONDS_MAX
        no_silent_hole(follower, speaker)
    await eventually(redis_set.agreed)
    await plain_publishing_is_heard(redis_set.url, times=2)


async def test_a_connection_to_a_deposed_master_is_left_at_the_next_command(redis_set: SentinelSet) -> None:
    async with redis_of(redis_set.url) as client:
        assert isinstance(client, SentinelRedis)
        before = await redis_set.master()
        assert await _asked(client) == before.port
        await redis_set.sentinels[0].ask("SENTINEL", "FAILOVER", "chat")
        after = await redis_set.promoted(before)

        async def known() -> bool:
            return (await client.sentinels.master())[1] == after.port

        await eventually(known)
        assert await _asked(client) == after.port
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.info("server")
            assert (await pipeline.execute())[0]["tcp_port"] == after.port


async def _asked(client: SentinelRedis) -> int:
    """The port of the server that answers."""
    return int((await client.info("server"))["tcp_port"])


async def _all_listen_to(after: Server, before: Server, room: UUID) -> bool:
    return (await _listeners(after, room), await _listeners(before, room)) == (1, 0)


async def _listeners(server: Server, room: UUID) -> int:
    """How many connections hear the room there."""
    return int((await server.ask("PUBSUB", "NUMSUB", f"chat:{{{room}}}"))[1])
