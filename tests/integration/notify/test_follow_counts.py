"""Twenty at once follow, leave, mute and block: counts stay exact, events tell the truth, and nobody deadlocks."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import TypeAlias
from uuid import UUID

import pytest
from redis.asyncio import Redis

from eventbus.outbox import Outbox
from notify import store
from notify.announcer import Announcer, RedisChannels
from notify.errors import BlockedByChannel, NotFollowing
from notify.everyones_preferences import EveryonesPreferences
from notify.followers import Followers
from notify.live_registry import LiveRegistry
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from runtime.tokens import Caller
from tests.engines import Database
from tests.integration.notify.processes import Person, seed

WORKERS = 20
ACTS_PER_WORKER = 25
TIMES_MUTED = 10
SEED = 5
CHANNELS = [Person(f"channel-{n}") for n in range(3)]
PEOPLE = [Person(f"person-{n}") for n in range(6)]

Changes: TypeAlias = tuple[Followers, EveryonesPreferences]


@pytest.fixture
async def crowded(database: Database, pool: Pool) -> AsyncIterator[Pool]:
    """A pool with a connection for each worker; everybody is known."""
    for person in (*CHANNELS, *PEOPLE):
        await store.keep_person(pool, person.user_id, person.name)
    settings = PostgresSettings(postgres_dsn=database.dsn, postgres_connections_max=WORKERS)
    async with open_pool(settings, schema="notify") as opened:
        yield opened


@asynccontextmanager
async def changing(pool: Pool, redis_url: str, redis_prefix: str) -> AsyncIterator[Changes]:
    """What changes follows and preferences, on a live lane that nobody is connected to."""
    async with Redis.from_url(redis_url) as redis:
        announcer = Announcer(redis, RedisChannels(redis_prefix), publish_seconds_max=5)
        registry = LiveRegistry(connections_max=1, connections_per_user_max=1)
        outbox = Outbox(pool, source="notify")
        limits = {"follows_per_user_max": 5, "blocks_per_channel_max": 10}
        yield Followers(pool, outbox, registry, announcer, **limits), EveryonesPreferences(pool, announcer)


async def test_counts_stay_exact_and_events_in_order_whatever_happens_at_once(
    crowded: Pool, redis_url: str, redis_prefix: str
) -> None:
    async with changing(crowded, redis_url, redis_prefix) as changes, asyncio.TaskGroup() as tasks:
        for number in range(WORKERS):
            tasks.create_task(act(changes, Random(SEED * 1_000 + number)))
    await counts_are_exact(crowded)
    await nobody_is_heard_who_wants_silence(crowded)
    await events_tell_the_truth(crowded)


async def test_twenty_who_mute_the_same_channels_at_once_never_wait_in_a_ring(
    crowded: Pool, redis_url: str, redis_prefix: str
) -> None:
    people = [uuid7() for _ in range(WORKERS)]
    for channel in CHANNELS:
        await seed(crowded, channel, people)

    async with changing(crowded, redis_url, redis_prefix) as (_, preferences):

        async def mute_and_back(person: UUID) -> None:
            for n in range(TIMES_MUTED):
                await preferences.change(Caller(person, "f"), {"muted": n % 2 == 0})

        async with asyncio.TaskGroup() as tasks:
            for person in people:
                tasks.create_task(mute_and_back(person))
    await counts_are_exact(crowded)
    assert await crowded.fetchval("SELECT sum(want_notices) FROM follower_counts") == WORKERS * len(CHANNELS)


async def counts_are_exact(crowded: Pool) -> None:
    counted = await crowded.fetch(
        "SELECT channel_id, count(*) AS followers, count(*) FILTER (WHERE wants_notices) AS want_notices"
        " FROM follows GROUP BY channel_id ORDER BY channel_id"
    )
    kept = await crowded.fetch("SELECT * FROM follower_counts WHERE followers > 0 ORDER BY channel_id")
    assert [tuple(row) for row in kept] == [tuple(row) for row in counted]
    assert await crowded.fetchval("SELECT sum(want_notices) FROM follower_counts WHERE followers = 0") in (0, None)


async def nobody_is_heard_who_wants_silence(crowded: Pool) -> None:
    blocked = (
        "SELECT count(*) FROM follows f JOIN blocks b ON b.channel_id = f.channel_id AND b.user_id = f.follower_id"
    )
    assert await crowded.fetchval(blocked) == 0
    loud = (
        "SELECT count(*) FROM follows f LEFT JOIN preferences p ON p.user_id = f.follower_id"
        " WHERE f.is_silent <> coalesce(p.muted, false)"
    )
    assert await crowded.fetchval(loud) == 0


async def act(changes: Changes, random: Random) -> None:
    followers, preferences = changes
    for _ in range(ACTS_PER_WORKER):
        channel, person = random.choice(CHANNELS), random.choice(PEOPLE)
        caller, streamer = Caller(person.user_id, person.name), Caller(channel.user_id, channel.name)
        try:
            match random.randrange(8):
                case 0 | 1 | 2:
                    await followers.follow(caller, channel.user_id)
                case 3:
                    await followers.unfollow(caller, channel.user_id)
                case 4:
                    await followers.change_wants(caller, channel.user_id, {"muted": random.random() < 0.5})
                case 5:
                    await preferences.change(caller, {"muted": random.random() < 0.5})
                case 6:
                    await followers.block(streamer, person.user_id)
                case _:
                    await followers.unblock(streamer, person.user_id)
        except (BlockedByChannel, NotFollowing):
            pass


async def events_tell_the_truth(pool: Pool) -> None:
    """Each follow's events take turns, and the last of them says how it stands."""
    rows = await pool.fetch(
        "SELECT type, convert_from(data, 'UTF8')::jsonb ->> 'channel_id' AS channel_id,"
        " convert_from(data, 'UTF8')::jsonb ->> 'follower_id' AS follower_id FROM outbox ORDER BY id"
    )
    said: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        said[row["channel_id"], row["follower_id"]].append(row["type"])
    for types in said.values():
        assert types == [("follow.created", "follow.deleted")[n % 2] for n in range(len(types))]
    standing = {pair for pair, types in said.items() if types[-1] == "follow.created"}
    follows = await pool.fetch("SELECT channel_id, follower_id FROM follows")
    assert standing == {(str(row["channel_id"]), str(row["follower_id"])) for row in follows}
    assert len(said) > len(PEOPLE)
