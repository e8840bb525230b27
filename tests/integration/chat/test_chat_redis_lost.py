"""Redis frozen, killed, emptied: clients stay, are told, and end gapless or told of the gap, all by itself."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from deploy.local import Stack
from tests.integration.chat.gateways import Accounts, Client, Person, Site, chat_environment, eventually

BACK_SECONDS_MAX = 15.0
"""Five seconds are meant, which `test_chat_broker_lost` holds on its own; these run beside other tests."""


@pytest.fixture
def stack(own_stack: Callable[..., Stack]) -> Stack:
    """A Redis of the test's own."""
    return own_stack("redis")


@pytest.fixture
async def fragile_site(
    chat_variables: tuple[dict[str, str], Accounts], stack: Stack, tmp_path: Path
) -> AsyncIterator[Site]:
    """Gateways on it."""
    variables, accounts = chat_variables
    redis_url = stack.environment()["LIVESTREAM_REDIS_URL"]
    made = Site(chat_environment(variables, LIVESTREAM_REDIS_URL=redis_url), accounts, tmp_path)
    yield made
    await made.close()


async def _crowd(site: Site, streamer: Person) -> list[Client]:
    gateways = await asyncio.gather(site.start(), site.start())
    clients = [site.client(streamer.user_id, Person(f"p{number}")) for number in range(8)]
    for number, client in enumerate(clients):
        await client.join(gateways[number % 2])
    for number in range(10):
        await clients[number % 2].say(f"before{number}", f"before{number}")
    await eventually(lambda: all(len(client.seen) == 10 for client in clients))
    return clients


def _statuses(client: Client) -> list[str]:
    return [frame["chat"] for frame in client.frames if frame["type"] == "status"]


async def _comes_back(clients: list[Client], attempt: str) -> None:
    """Chat works again for everybody in time, without anybody having reconnected."""
    since = time.monotonic()
    await eventually(lambda: all(_statuses(client)[-1:] == ["available"] for client in clients))
    assert (await clients[0].say(attempt, attempt))["type"] == "accepted"
    await eventually(lambda: all(attempt in client.seen for client in clients))
    assert time.monotonic() - since < BACK_SECONDS_MAX
    for client in clients:
        assert not client.gone
        client.assert_no_silent_hole()


async def test_a_frozen_redis_is_told_and_nothing_is_lost(fragile_site: Site, streamer: Person, stack: Stack) -> None:
    clients = await _crowd(fragile_site, streamer)
    redis = stack.pid("redis")
    os.kill(redis, signal.SIGSTOP)
    try:
        await eventually(lambda: all(_statuses(client) == ["unavailable"] for client in clients))
        refused = await clients[0].say("during", "during")
        assert (refused["type"], refused["code"]) == ("error", "unavailable")
    finally:
        os.kill(redis, signal.SIGCONT)
    await _comes_back(clients, "after")
    assert all(Client.GAP not in client.seen for client in clients)


async def test_a_killed_redis_is_told_and_comes_back(fragile_site: Site, streamer: Person, stack: Stack) -> None:
    clients = await _crowd(fragile_site, streamer)
    stack.kill("redis")
    await eventually(lambda: all(_statuses(client) == ["unavailable"] for client in clients))
    refused = await clients[1].say("during", "during")
    assert refused["code"] == "unavailable"
    await asyncio.to_thread(stack.start, "redis")
    await _comes_back(clients, "after")


async def test_an_emptied_redis_is_told_as_a_gap(fragile_site: Site, streamer: Person, stack: Stack) -> None:
    clients = await _crowd(fragile_site, streamer)
    redis = Redis.from_url(stack.environment()["LIVESTREAM_REDIS_URL"])
    await redis.flushall()
    await redis.aclose()
    await clients[0].say("after1", "after1")
    await clients[1].say("after2", "after2")
    await eventually(lambda: all(client.seen[-1] == "after2" for client in clients))
    for client in clients:
        client.assert_no_silent_hole()
        assert client.seen[10:] == [Client.GAP, "after1", "after2"]


async def test_a_subscription_that_is_killed_again_and_again_loses_nothing(
    fragile_site: Site, streamer: Person, stack: Stack
) -> None:
    clients = await _crowd(fragile_site, streamer)
    redis = Redis.from_url(stack.environment()["LIVESTREAM_REDIS_URL"])
    said = 0
    for _ in range(8):
        await redis.client_kill_filter(_type="pubsub")
        for _ in range(5):
            await clients[0].send(f"s{said}", f"s{said}")
            said += 1
            await asyncio.sleep(0.01)
    await redis.aclose()
    await eventually(lambda: any(frame.get("id") == f"s{said - 1}" for frame in clients[0].frames))
    accepted = sum(frame["type"] == "accepted" for frame in clients[0].frames) + sum(
        frame["type"] == "accepted" for frame in clients[1].frames
    )
    await eventually(lambda: all(len(client.offsets) == accepted for client in clients))
    for client in clients:
        assert client.offsets == list(range(1, accepted + 1))


async def test_a_gateway_starts_without_redis_says_so_and_works_when_it_is_there(
    fragile_site: Site, streamer: Person, stack: Stack
) -> None:
    stack.kill("redis")
    gateway = await fragile_site.start(ready=False)
    early = fragile_site.client(streamer.user_id, Person("early"))
    joining = asyncio.create_task(early.join(gateway))
    await eventually(lambda: _statuses(early) == ["unavailable"])
    await asyncio.to_thread(stack.start, "redis")
    since = time.monotonic()
    await joining
    assert (await early.say("first", "first"))["type"] == "accepted"
    await eventually(lambda: early.seen == ["first"])
    assert time.monotonic() - since < BACK_SECONDS_MAX
    await gateway.ready(fragile_site.session)
