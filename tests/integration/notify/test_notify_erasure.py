"""Nothing of a deleted person is left in notify, whatever comes late; and names are corrected by renames alone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from eventbus.outbox import Outbox
from notify import store
from notify.announcer import Announcer, RedisChannels
from notify.people.erasing import PersonErasing
from notify.people.events import forget_person, rename_person
from notify.store import queries
from runtime.erasure import Erasures
from runtime.ids import uuid7
from runtime.postgres import Pool
from tests.integration.notify.processes import Person
from tests.integration.remains import deleted, erase_all, renamed, tables_of_people, tables_that_say

GONE = Person("marker_erased_7")
MAIL = "marker_erased_7+tag@example.org"
WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
FAN, IDOL = Person("fan"), Person("idol")
FORMER_FAN = uuid7()
"""Followed once, and does no more."""
FANOUT, IDOLS_FANOUT = uuid7(), uuid7()


@pytest.fixture
async def worker(pool: Pool, redis_url: str, redis_prefix: str) -> AsyncIterator[Erasures]:
    """The worker, which looks again at once."""
    async with Redis.from_url(redis_url) as redis:
        announcer = Announcer(redis, RedisChannels(redis_prefix), publish_seconds_max=5)
        yield Erasures(pool, PersonErasing(pool, announcer).steps, service="notify", again_seconds=0)


async def hear_deleted(pool: Pool, user_id: UUID) -> None:
    async with Outbox(pool, source="notify").transaction() as transaction:
        await forget_person(transaction, deleted(user_id))


async def lived_in(pool: Pool) -> None:
    """Somebody with all that a person can have, who follows an idol and is followed by a fan."""
    for person in (GONE, FAN, IDOL):
        await store.keep_person(pool, person.user_id, person.name)
    destinations = {channel: uuid7() for channel in ("webpush", "email", "webhook")}
    idols_endpoint = uuid7()
    queue = "INSERT INTO delivery_queues (channel, lane, source_id) VALUES ('webpush', 'bulk', $1)"
    place = "INSERT INTO destinations (destination_id, user_id, channel, provider) VALUES ($1, $2, $3, 'h:1')"
    me, fan, idol = GONE.user_id, FAN.user_id, IDOL.user_id
    for statement, *arguments in (
        ("INSERT INTO follows (channel_id, follower_id) VALUES ($1, $2), ($2, $3), ($1, $3)", idol, me, fan),
        ("INSERT INTO blocks (channel_id, user_id) VALUES ($1, $2), ($3, $1)", me, fan, idol),
        ("INSERT INTO preferences (user_id) VALUES ($1)", me),
        ("INSERT INTO fanouts (fanout_id, channel_id, channel_name, title, started_at, stream_id)"
         " VALUES ($1, $2, $3, 'live', now(), $1), ($4, $5, 'idol', 'live', now(), $4)",
         FANOUT, me, GONE.name, IDOLS_FANOUT, idol),
        ("INSERT INTO announced_fanouts (fanout_id) VALUES ($1)", FANOUT),
        ("INSERT INTO fanout_pages (fanout_id, page_number) VALUES ($1, 0)", FANOUT),
        ("INSERT INTO fanout_outcomes (fanout_id, channel, outcome, recipients) VALUES ($1, 'inbox', 'x', 1)", FANOUT),
        ("INSERT INTO notices (user_id, notice_id) VALUES ($1, $2), ($3, $4), ($5, $2), ($5, $6)",
         fan, FANOUT, me, uuid7(), FORMER_FAN, IDOLS_FANOUT),
        ("INSERT INTO inboxes (user_id, read_through) VALUES ($1, $2)", me, uuid7()),
        *((place, one, me, kind) for kind, one in destinations.items()),
        (place, idols_endpoint, idol, "webhook"),
        ("INSERT INTO push_subscriptions (destination_id, user_id, endpoint, p256dh, auth)"
         " VALUES ($1, $2, 'https://push', decode(repeat('00', 65), 'hex'), decode(repeat('00', 16), 'hex'))",
         destinations["webpush"], me),
        ("INSERT INTO mailboxes (destination_id, user_id, address) VALUES ($1, $2, $3)",
         destinations["email"], me, MAIL),
        ("INSERT INTO mail_verifications (verification_id, user_id, address, state, expires_at)"
         " VALUES ($1, $2, $3, 'requested', now())", uuid7(), me, MAIL),
        ("INSERT INTO mail_requests (user_id, address_key) VALUES ($1, $2)", me, MAIL),
        ("INSERT INTO mail_digests (user_id, digest_day, covers_from, made_at) VALUES ($1, now(), now(), now())", me),
        ("INSERT INTO webhook_endpoints"
         " (endpoint_id, user_id, description, events, url_sealed, url_shown, secret_sealed)"
         " VALUES ($1, $2, '', '{stream.*}', 'x', 'x', 'x'), ($3, $4, '', '{follow.*}', 'x', 'x', 'x')",
         destinations["webhook"], me, idols_endpoint, idol),
        ("INSERT INTO webhook_messages (endpoint_id, message_id, type, body)"
         " VALUES ($1, $2, 'stream.started', $3), ($4, $2, 'follow.created', $3),"
         " ($4, $5, 'follow.created', 'of others')",
         destinations["webhook"], uuid7(), f"{me} {GONE.name}", idols_endpoint, uuid7()),
        (queue, FANOUT), (queue, idol), (queue, destinations["webhook"]),
        ("INSERT INTO deliveries (queue_id, message_id, user_id, destination_id, provider, expires_at, content)"
         " SELECT queue_id, $1, $2, $1, 'h:1', now(), to_jsonb($3::text) FROM delivery_queues",
         uuid7(), me, GONE.name),
        ("INSERT INTO dead_deliveries (delivery_id, channel, lane, source_id, message_id, user_id, destination_id,"
         " provider, attempts, reason, created_at)"
         " VALUES (1, 'email', 'bulk', $1, $1, $2, $1, 'h:1', 1, '', now())", uuid7(), me),
    ):  # fmt: skip
        await pool.execute(str(statement), *arguments)


async def test_nothing_of_a_deleted_person_is_left(pool: Pool, worker: Erasures) -> None:
    await lived_in(pool)
    marks = (GONE.user_id, GONE.name, MAIL)
    before = await tables_that_say(pool, "notify", *marks)
    assert await tables_of_people(pool, "notify") <= before, "the test knows every table with people"
    await hear_deleted(pool, GONE.user_id)
    assert await pool.fetchval("SELECT state FROM fanouts WHERE fanout_id = $1", FANOUT) == "cancelled"
    row = await erase_all(worker, pool, GONE.user_id)
    assert row["settled_at"] is not None
    assert await tables_that_say(pool, "notify", *marks) == set()
    assert await tables_that_say(pool, "notify", FANOUT) == set(), "nor in the inbox of who was told, also once"
    assert [row["user_id"] for row in await pool.fetch("SELECT user_id FROM notices")] == [FORMER_FAN], "of the idol"
    assert await pool.fetchval("SELECT followers FROM follower_counts WHERE channel_id = $1", IDOL.user_id) == 1
    assert await pool.fetchval("SELECT count(*) FROM webhook_messages") == 1, "what webhooks were told of others stays"
    assert await pool.fetchval("SELECT count(*) FROM fanouts") == 1


async def test_many_inboxes_are_looked_through_in_steps(pool: Pool) -> None:
    people = sorted(uuid7() for _ in range(25))
    fanouts = [uuid7() for _ in range(4)]
    await pool.executemany(
        "INSERT INTO fanouts (fanout_id, channel_id, channel_name, title, started_at, stream_id)"
        " VALUES ($1, $2, '', '', now(), $1)",
        [(one, GONE.user_id) for one in fanouts[:3]] + [(fanouts[3], IDOL.user_id)],
    )
    told = [(person, one) for person in people for one in fanouts]
    await pool.executemany("INSERT INTO notices (user_id, notice_id) VALUES ($1, $2)", told)
    after: UUID | None = UUID(int=0)
    steps = 0
    while after is not None:
        after, steps = await queries.erase_told(pool, user_id=GONE.user_id, after_user_id=after, rows_max=10), steps + 1
    assert steps > 5
    assert {row["notice_id"] for row in await pool.fetch("SELECT notice_id FROM notices")} == {fanouts[3]}
    assert await pool.fetchval("SELECT count(*) FROM notices") == len(people)


async def test_what_comes_late_brings_nobody_back(pool: Pool, worker: Erasures) -> None:
    await hear_deleted(pool, GONE.user_id)
    await erase_all(worker, pool, GONE.user_id)
    await store.keep_person(pool, IDOL.user_id, IDOL.name)
    await store.keep_person(pool, GONE.user_id, GONE.name)
    async with Outbox(pool, source="notify").transaction() as transaction:
        await rename_person(transaction, renamed(GONE.user_id, GONE.name))
    await pool.execute("INSERT INTO follows (channel_id, follower_id) VALUES ($1, $2)", IDOL.user_id, GONE.user_id)
    assert await tables_that_say(pool, "notify", GONE.user_id, GONE.name) == set()
    await pool.execute(
        "INSERT INTO fanouts (fanout_id, channel_id, channel_name, title, started_at, stream_id)"
        " VALUES ($1, $2, $3, 'late', now(), $1)",
        uuid7(),
        GONE.user_id,
        GONE.name,
    )
    assert await worker.round(), "a fan-out that comes late wakes the worker"
    assert await tables_that_say(pool, "notify", GONE.user_id, GONE.name) == set()


async def test_only_the_newest_rename_corrects_a_name(pool: Pool) -> None:
    person, now = Person("was_ada"), datetime.now(UTC)
    await store.keep_person(pool, person.user_id, person.name)
    outbox = Outbox(pool, source="notify")
    for name, at in (("is_ada", now), ("older", now - timedelta(hours=1))):
        async with outbox.transaction() as transaction:
            await rename_person(transaction, renamed(person.user_id, name, at))
    await store.keep_person(pool, person.user_id, person.name)  # their token says the name of before
    assert await store.find_username(pool, person.user_id) == "is_ada"
