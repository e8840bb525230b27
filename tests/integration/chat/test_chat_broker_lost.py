"""What a gateway's broker does while its Redis is away in any way, and that it is back within seconds of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline

from chat.brokers.broker_redis import RedisBroker
from chat.brokers.spool_redis import INDEX, RedisSpool
from chat.errors import BrokerUnavailable
from chat.presence.presence import Present
from chat.presence.presence_redis import RedisPresence
from tests.integration.chat.followers import FREE, UNSURE, Follower, Speaker, gateway_broker, no_silent_hole, redis_of
from tests.integration.chat.gateways import eventually
from tests.integration.chat.redis_sets import FREEZE, WAKE, Server, single_server

pytestmark = pytest.mark.heavy

BACK_SECONDS_MAX = 10.0
REFUSED_SECONDS_MAX = 6.0
"""Twice what is meant: this machine may be busy."""
AT_ONCE_SECONDS = 1.0
"""Much on a busy machine, and half of what a server costs that is asked and does not answer."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = single_server(tmp_path / "redis")
    await made.start()
    yield made
    made.kill()


async def is_back(follower: Follower, speaker: Speaker, since: float) -> None:
    """Sends are taken and heard again, in time, and nothing was lost silently."""
    await speaker.say(b"back-%f" % since)
    await eventually(lambda: follower.hears and follower.seen[-1:] == [speaker.accepted[-1][1]])
    assert time.monotonic() - since < BACK_SECONDS_MAX
    no_silent_hole(follower, speaker)


async def refusal_seconds(broker: RedisBroker, room: UUID) -> float:
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await broker.publish(room, str(uuid4()), UNSURE, FREE)
    return time.monotonic() - began


async def refused_at_once(broker: RedisBroker, room: UUID) -> bool:
    """Whether the quickest of some refusals is: whoever asks and waits does so every time."""
    return min([await refusal_seconds(broker, room) for _ in range(5)]) < AT_ONCE_SECONDS


async def test_a_frozen_server(server: Server) -> None:
    room = uuid4()
    async with gateway_broker(server.url, silence_seconds=3) as one, gateway_broker(server.url) as other:
        follower, speaker = Follower(other, room), Speaker(one, room)
        await eventually(lambda: follower.hears)
        await speaker.say(b"before")
        server.signal(FREEZE)
        try:
            waits = await asyncio.gather(*(refusal_seconds(one, room) for _ in range(5)))
            assert max(waits) < REFUSED_SECONDS_MAX
            await eventually(lambda: not one.connected and not other.connected)
            assert await refused_at_once(one, room)
        finally:
            server.signal(WAKE)
        await is_back(follower, speaker, time.monotonic())
        assert Follower.GAP not in follower.seen


async def test_a_killed_server_that_comes_back_has_what_it_acknowledged(server: Server) -> None:
    room = uuid4()
    async with gateway_broker(server.url) as one, gateway_broker(server.url) as other, redis_of(server.url) as client:
        follower, speaker, over = Follower(other, room), Speaker(one, room), asyncio.Event()
        await eventually(lambda: follower.hears)
        talking = asyncio.create_task(speaker.say_until(over))
        await eventually(lambda: len(follower.seen) > 100)
        server.kill()
        await eventually(lambda: not one.connected)
        assert await refused_at_once(one, room)
        await server.start()
        since = time.monotonic()
        over.set()
        await talking
        await is_back(follower, speaker, since)
        assert Follower.GAP not in follower.seen
        spooled = await RedisSpool(client).waiting(room, entries_max=10_000)
        assert [(m.offset, m.body) for m in spooled] == [(p.offset, body) for p, body in speaker.accepted]
        assert await RedisSpool(client).rooms(rooms_max=10) == [room]


async def test_an_emptied_server_is_told_as_a_gap(server: Server) -> None:
    room = uuid4()
    async with gateway_broker(server.url) as one, gateway_broker(server.url) as other:
        follower, speaker = Follower(other, room), Speaker(one, room)
        await eventually(lambda: follower.hears)
        await speaker.say(b"before")
        await server.ask("FLUSHALL")
        since = time.monotonic()
        await speaker.say(b"after")
        await is_back(follower, speaker, since)
        assert follower.seen.count(Follower.GAP) == 1
        assert await server.ask("ZSCORE", INDEX, str(room)) is not None, "the room is noted again"


async def test_subscriptions_killed_in_a_loop(server: Server) -> None:
    room = uuid4()
    async with gateway_broker(server.url) as one, gateway_broker(server.url) as other:
        follower, speaker, over = Follower(other, room), Speaker(one, room), asyncio.Event()
        await eventually(lambda: follower.hears)
        talking = asyncio.create_task(speaker.say_until(over))
        for number in range(10):
            await server.ask("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda number=number: follower.disconnections > number and follower.hears)  # type: ignore[misc]  # bound now
        since = time.monotonic()
        over.set()
        await talking
        await is_back(follower, speaker, since)
        assert Follower.GAP not in follower.seen


async def test_a_subscription_that_overflows_is_cut_by_the_server_and_seen(server: Server) -> None:
    room = uuid4()
    async with gateway_broker(server.url) as one, gateway_broker(server.url) as other:
        follower, speaker = Follower(other, room), Speaker(one, room)
        await eventually(lambda: follower.hears)
        await speaker.say(b"before")
        # The least that overflows: a reply larger than the limit. The broker ignores what it does not know.
        await server.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 20kb 0 0")
        flood = asyncio.create_task(server.ask("PUBLISH", f"chat:{{{room}}}", "x" * 30_000_000))
        since = time.monotonic()
        await asyncio.gather(*(speaker.say(b"meanwhile-%d" % number) for number in range(20)))
        await flood
        await eventually(lambda: follower.disconnections > 0)
        await is_back(follower, speaker, since)
        assert Follower.GAP not in follower.seen


async def test_a_gateway_that_starts_first(tmp_path: Path) -> None:
    server, room = single_server(tmp_path / "late"), uuid4()
    try:
        async with gateway_broker(server.url) as broker:
            follower, speaker = Follower(broker, room), Speaker(broker, room)
            assert await refused_at_once(broker, room)
            with pytest.raises(BrokerUnavailable):
                broker.check()
            await asyncio.sleep(2)  # long enough for the waits between attempts to have grown
            await server.start()
            await is_back(follower, speaker, time.monotonic())
            broker.check()
    finally:
        server.kill()


async def test_a_server_that_takes_no_writes_is_away(server: Server) -> None:
    """Too few replicas, a disk that fails: it answers, and refuses."""
    room = uuid4()
    async with gateway_broker(server.url) as broker:
        follower, speaker = Follower(broker, room), Speaker(broker, room)
        await eventually(lambda: follower.hears)
        await speaker.say(b"before")
        await server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await refused_at_once(broker, room)
        async with redis_of(server.url) as client:
            spool = RedisSpool(client)
            waiting = await spool.waiting(room, entries_max=10)
            with pytest.raises(BrokerUnavailable):
                await broker.count_members("g", {room: 1, uuid4(): 2}, seconds=5)
            with pytest.raises(BrokerUnavailable):
                await RedisPresence(client).note({room: [Present(uuid4(), "ann", "viewer")]})
            with pytest.raises(BrokerUnavailable):
                await spool.settle_in({room: [message.spool_id for message in waiting]})
        await server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        await is_back(follower, speaker, time.monotonic())


class ForgetfulPipeline(Pipeline):
    """Of a server that forgets its scripts right before it is to run them, as one that is restarted just then."""

    async def load_scripts(self) -> None:
        await super().load_scripts()  # type: ignore[no-untyped-call]  # redis-py: no annotations
        await self.immediate_execute_command("SCRIPT", "FLUSH")  # type: ignore[no-untyped-call]  # redis-py: no annotations


class ForgetfulRedis(Redis):
    """A client with such pipelines."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return ForgetfulPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


async def test_scripts_that_were_forgotten_are_loaded_again(server: Server) -> None:
    room, ann = uuid4(), Present(uuid4(), "ann", "moderator")
    async with redis_of(server.url) as client:
        presence = RedisPresence(client)
        for _ in range(2):
            await presence.note({room: [ann]})
            await server.ask("SCRIPT", "FLUSH")
        assert (await presence.page(room, people_max=1)).people == (ann,)
    async with ForgetfulRedis.from_url(server.url) as forgetful:
        with pytest.raises(BrokerUnavailable):
            await RedisPresence(forgetful).note({room: [ann]})


async def test_scripts_that_cannot_be_loaded_cost_no_connection(server: Server) -> None:
    pool = BlockingConnectionPool.from_url(server.url, max_connections=1, timeout=0.5, socket_timeout=2.0)
    async with Redis.from_pool(pool) as client:
        presence, said = RedisPresence(client), {uuid4(): [Present(uuid4(), "ann", "viewer")]}
        await presence.note(said)
        server.signal(FREEZE)
        try:
            with pytest.raises(BrokerUnavailable):
                await presence.note(said)
        finally:
            server.signal(WAKE)
        await presence.note(said)
