"""Chat on a cluster: rooms are heard at the server that has them, also after that was killed or a slot has moved."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis.crc import key_slot

from chat.brokers.broker_redis import RedisBroker
from chat.brokers.spool_redis import RedisSpool
from chat.errors import BrokerUnavailable
from tests.integration.chat.followers import (
    Follower,
    Speaker,
    gateway_broker,
    no_silent_hole,
    plain_publishing_is_heard,
    redis_of,
)
from tests.integration.chat.gateways import eventually
from tests.integration.chat.redis_sets import FREEZE, SLOTS, WAKE, ClusterSet, cluster_set

pytestmark = pytest.mark.heavy

BACK_SECONDS_MAX = 10.0
"""Five are meant: this machine may be busy."""


@pytest.fixture
async def redis_set(tmp_path: Path) -> AsyncIterator[ClusterSet]:
    async with cluster_set(tmp_path) as made:
        yield made


async def whole(*brokers: RedisBroker) -> None:
    """Wait until they hear every server: whoever does not would refuse what is said there."""

    def are_whole() -> bool:
        with suppress(BrokerUnavailable):
            for broker in brokers:
                broker.check()
            return True
        return False

    await eventually(are_whole)


def slot_of(room: UUID) -> int:
    return int(key_slot(str(room).encode()))


def a_room_of(number: int) -> UUID:
    """A room whose slot the cluster's server of that number has."""
    while True:
        room = uuid4()
        if SLOTS * number // 3 <= slot_of(room) < SLOTS * (number + 1) // 3:
            return room


async def test_every_room_flows_wherever_it_lives_and_is_spooled(redis_set: ClusterSet) -> None:
    rooms = [a_room_of(number % 3) for number in range(30)]
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        await whole(one, other)
        followers = [Follower(other, room) for room in rooms]
        await eventually(lambda: all(follower.hears and follower.position for follower in followers))
        speakers = [Speaker(one, room) for room in rooms]
        for number in range(3):
            await asyncio.gather(*(speaker.say(b"said-%d" % number) for speaker in speakers))
        for room in rooms:
            await other.signal(room, b"look")
        await eventually(lambda: all(len(f.seen) == 3 and f.signals == [b"look"] for f in followers))
        assert all(speaker.refused == 0 for speaker in speakers)
        assert await one.count_members("g", {rooms[0]: 3}, seconds=5) == {rooms[0]: 3}
        async with redis_of(redis_set.url) as client:
            spool = RedisSpool(client)
            assert set(await spool.rooms(rooms_max=100)) == set(rooms)
            for room in rooms:
                waiting = await spool.waiting(room, entries_max=10)
                assert [message.body for message in waiting] == [b"said-0", b"said-1", b"said-2"]
                await spool.settle(room, [message.spool_id for message in waiting])
            assert await spool.rooms(rooms_max=100) == []
        heard = [await server.ask("PUBSUB", "SHARDCHANNELS") for server in redis_set.servers[:3]]
        assert [len(channels) for channels in heard] == [10, 10, 10]
    await plain_publishing_is_heard(redis_set.url, times=12)


async def test_a_killed_server_is_followed_by_its_replica_and_the_other_rooms_notice_nothing(
    redis_set: ClusterSet,
) -> None:
    room, elsewhere = a_room_of(0), a_room_of(1)
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        follower, aloof = Follower(other, room), Follower(other, elsewhere)
        speaker, undisturbed = Speaker(one, room), Speaker(one, elsewhere)
        over = asyncio.Event()
        await whole(one, other)
        await eventually(lambda: all(f.hears and f.position is not None for f in (follower, aloof)))
        talking = [asyncio.create_task(s.say_until(over)) for s in (speaker, undisturbed)]
        await eventually(lambda: len(follower.seen) > 50)
        redis_set.servers[3].signal(FREEZE)  # its replica takes over when this has been seen, not before
        try:
            redis_set.servers[0].kill()
            with pytest.raises(BrokerUnavailable):
                await one.count_members("g", {room: 1, elsewhere: 2}, seconds=60)
        finally:
            redis_set.servers[3].signal(WAKE)
        assert await other.count_members("h", {elsewhere: 3}, seconds=60) == {elsewhere: 5}, "the others are counted"
        await redis_set.promoted()
        promoted_at, accepted = time.monotonic(), len(speaker.accepted)
        await eventually(lambda: follower.hears and len(speaker.accepted) > accepted + 5)
        await eventually(lambda: follower.seen[-1:] == [speaker.accepted[-1][1]])
        assert time.monotonic() - promoted_at < BACK_SECONDS_MAX
        await redis_set.servers[0].start()  # and the old one comes back, as a replica
        over.set()
        await asyncio.gather(*talking)
        for follows, speaks in ((follower, speaker), (aloof, undisturbed)):
            await speaks.say(b"last")
            await eventually(lambda follows=follows: follows.seen[-1] == b"last")  # type: ignore[misc]  # bound now
            no_silent_hole(follows, speaks)
        assert speaker.refused > 0
        assert speaker.slowest_refusal_seconds < 6
        assert (undisturbed.refused, aloof.disconnections, Follower.GAP in aloof.seen) == (0, 0, False)


async def test_a_slot_that_moves_takes_its_room_along(redis_set: ClusterSet) -> None:
    room = a_room_of(1)
    async with gateway_broker(redis_set.url) as one, gateway_broker(redis_set.url) as other:
        follower, speaker, over = Follower(other, room), Speaker(one, room), asyncio.Event()
        await whole(one, other)
        await eventually(lambda: follower.hears and follower.position is not None)
        talking = asyncio.create_task(speaker.say_until(over))
        await eventually(lambda: len(follower.seen) > 20)
        await redis_set.move_slot(slot_of(room), redis_set.servers[1], redis_set.servers[2])
        moved_at, accepted = time.monotonic(), len(speaker.accepted)
        await eventually(lambda: follower.hears and len(speaker.accepted) > accepted + 20)
        over.set()
        await talking
        await speaker.say(b"last")
        await eventually(lambda: follower.seen[-1:] == [b"last"])
        assert time.monotonic() - moved_at < BACK_SECONDS_MAX
        no_silent_hole(follower, speaker)
        assert Follower.GAP not in follower.seen
        assert speaker.refused == 0, "who is sent elsewhere goes there"
        listening = [await server.ask("PUBSUB", "SHARDNUMSUB", f"chat:{{{room}}}") for server in redis_set.servers]
        assert [answer[1] for answer in listening] == [0, 0, 1, 0]


async def test_a_gateway_starts_before_the_cluster(tmp_path: Path) -> None:
    made = ClusterSet(tmp_path)
    room = uuid4()
    try:
        async with redis_of(made.url) as client:
            broker = RedisBroker(client)
            task = asyncio.create_task(broker.run())
            follower, speaker = Follower(broker, room), Speaker(broker, room)
            saying = asyncio.create_task(speaker.say(b"early", seconds=30))
            await eventually(lambda: speaker.refused > 1)
            assert not broker.connected
            await made.start()
            await saying
            await eventually(lambda: follower.hears and follower.seen == [b"early"])
            task.cancel()
            await asyncio.wait([task])
    finally:
        made.close()
