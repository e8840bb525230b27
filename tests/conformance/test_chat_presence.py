"""What every presence must do; the memory twin and Redis pass the same suite."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chat.brokers.redis_calls import room_key
from chat.errors import BrokerUnavailable
from chat.presence.presence import Presence, Present
from chat.presence.presence_memory import MemoryPresence
from chat.presence.presence_redis import RedisPresence
from runtime.redis_client import redis_client
from runtime.settings import RedisSettings
from tests.integration.chat.gateways import eventually

BELIEVED_SECONDS = 0.6


@asynccontextmanager
async def redis_presence(url: str, believed_seconds: float) -> AsyncIterator[RedisPresence]:
    async with redis_client(RedisSettings(redis_url=SecretStr(url))) as client:
        yield RedisPresence(client, believed_seconds=believed_seconds)


@pytest.fixture(params=["memory", "redis"])
async def presence(request: pytest.FixtureRequest) -> AsyncIterator[Presence]:
    """Believes for a minute."""
    if request.param == "memory":
        yield MemoryPresence(believed_seconds=60.0)
    else:
        async with redis_presence(request.getfixturevalue("redis_url"), 60.0) as made:
            yield made


@pytest.fixture(params=["memory", "redis"])
async def forgetful(request: pytest.FixtureRequest) -> AsyncIterator[Presence]:
    """Believes for a moment."""
    if request.param == "memory":
        yield MemoryPresence(believed_seconds=BELIEVED_SECONDS)
    else:
        async with redis_presence(request.getfixturevalue("redis_url"), BELIEVED_SECONDS) as made:
            yield made


def person(name: str) -> Present:
    return Present(uuid4(), name)


async def names(presence: Presence, room: UUID, prefix: str = "") -> list[str]:
    return [one.username for one in (await presence.page(room, prefix=prefix, people_max=100)).people]


async def test_people_are_listed_by_name_once_whatever_gateways_say(presence: Presence) -> None:
    room, bob, ann = uuid4(), person("bob"), Present(uuid4(), "ann", "moderator")
    await presence.note({room: [bob, ann]})
    await presence.note({room: [bob]})
    page = await presence.page(room, people_max=10)
    assert page.people == (ann, bob)
    assert page.chatters == 2


async def test_a_role_is_the_one_that_was_told_last(presence: Presence) -> None:
    room, user_id = uuid4(), uuid4()
    for role in ("moderator", "viewer", "streamer"):
        await presence.note({room: [Present(user_id, "ann", role)]})
        assert [one.role for one in (await presence.page(room, people_max=10)).people] == [role]


async def test_rooms_do_not_mix(presence: Presence) -> None:
    one, other = uuid4(), uuid4()
    await presence.note({one: [person("ann")]})
    assert await names(presence, other) == []
    assert (await presence.page(other, people_max=10)).chatters == 0


async def test_pages_follow_each_other_without_a_hole_or_a_double(presence: Presence) -> None:
    room = uuid4()
    people = [person(name) for name in ("ann", "ann", "ann_", "ann1", "b_b", "bb", "bob", "bobby", "zoe")]
    shuffled = random.sample(people, len(people))
    await presence.note({room: shuffled})
    found: list[Present] = []
    after = None
    while page := (await presence.page(room, after=after, people_max=2)).people:
        found.extend(page)
        after = (page[-1].username, page[-1].user_id)
    assert len(found) == len(people) and set(found) == set(people)
    assert [one.username for one in found] == sorted(one.username for one in people)


async def test_a_search_is_by_the_beginning_of_the_name_and_pages_too(presence: Presence) -> None:
    room = uuid4()
    people = [person(name) for name in ("ann", "bo", "bob", "bobby", "bog", "cy", "az_1")]
    await presence.note({room: people})
    assert await names(presence, room, "bo") == ["bo", "bob", "bobby", "bog"]
    assert await names(presence, room, "bob") == ["bob", "bobby"]
    assert await names(presence, room, "x") == []
    bob = people[2]
    rest = await presence.page(room, after=("bob", bob.user_id), prefix="bo", people_max=10)
    assert [one.username for one in rest.people] == ["bobby", "bog"]
    assert rest.chatters == 7
    before = await presence.page(room, after=("ann", people[0].user_id), prefix="bo", people_max=10)
    assert [one.username for one in before.people] == ["bo", "bob", "bobby", "bog"]


async def test_whoever_is_told_of_no_more_is_gone_and_the_others_are_not(forgetful: Presence) -> None:
    room, stays, leaves = uuid4(), person("stays"), person("leaves")
    await forgetful.note({room: [stays, leaves]})
    async with asyncio.timeout(30):
        while True:
            noted_at = time.monotonic()
            await forgetful.note({room: [stays]})
            await asyncio.sleep(BELIEVED_SECONDS / 6)
            here = await names(forgetful, room)
            chatters = (await forgetful.page(room, people_max=0)).chatters
            if time.monotonic() - noted_at > BELIEVED_SECONDS - 0.1:
                continue  # this machine was away for too long to say that somebody is told of
            assert "stays" in here
            if here == ["stays"]:
                break
    assert chatters == 1


async def test_ten_thousand_are_counted_and_paged(presence: Presence) -> None:
    room = uuid4()
    people = [person(f"user{number:05}") for number in range(10_000)]
    for start in range(0, len(people), 500):
        await presence.note({room: people[start : start + 500]})
    page = await presence.page(room, prefix="user09", people_max=100)
    assert page.chatters == 10_000
    assert page.people == tuple(people[9_000:9_100])


async def test_the_keys_of_a_room_expire_with_the_last_gateway(redis_url: str) -> None:
    room, lasting, ann = uuid4(), uuid4(), Present(uuid4(), "ann", "streamer")

    def keys_of(one: UUID) -> list[str]:
        return [room_key(one, what) for what in ("people", "people-by-name", "people-roles")]

    async with redis_client(RedisSettings(redis_url=SecretStr(redis_url))) as client:
        await RedisPresence(client).note({lasting: [ann]})
        await RedisPresence(client, believed_seconds=BELIEVED_SECONDS).note({room: [ann]})
        assert await client.exists(*keys_of(lasting)) == 3

        async def expired() -> bool:
            return not await client.exists(*keys_of(room))

        await eventually(expired)


async def test_those_who_are_gone_leave_the_server_and_take_no_place_on_a_page(redis_url: str) -> None:
    room, stays = uuid4(), person("z_stays")
    by_name = room_key(room, "people-by-name")
    async with redis_client(RedisSettings(redis_url=SecretStr(redis_url))) as client:
        brief, long = RedisPresence(client, believed_seconds=BELIEVED_SECONDS), RedisPresence(client)
        gone = [person(f"gone{number:05}") for number in range(5_600)]
        for start in range(0, len(gone), 800):
            await brief.note({room: gone[start : start + 800]})
        await long.note({room: [stays]})
        await asyncio.sleep(BELIEVED_SECONDS + 0.1)
        assert (await long.page(room, people_max=2)).people == (stays,), "more are gone than one look forgets"
        await long.page(room, people_max=0)
        assert await client.zcard(by_name) == 1


async def test_a_presence_that_does_not_answer_says_so() -> None:
    away = MemoryPresence()
    away.away = True
    with pytest.raises(BrokerUnavailable):
        await away.note({uuid4(): [person("ann")]})
    async with redis_presence("redis://127.0.0.1:1/0", 1.0) as unreachable:
        with pytest.raises(BrokerUnavailable):
            await unreachable.page(uuid4(), people_max=1)


async def test_the_people_of_many_rooms_are_noted_at_once(presence: Presence) -> None:
    rooms = {uuid4(): [person(f"user{number}")] for number in range(250)}
    await presence.note(rooms | {uuid4(): []})
    for room, people in list(rooms.items())[::50]:
        assert (await presence.page(room, people_max=10)).people == tuple(people)
