"""What moderation keeps: entries that were left untold, follows in any order, and what is forgotten in time."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TypeVar
from uuid import UUID

import pytest

from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.followers import Followers
from chat.moderation.actions import Moderation
from chat.moderation.held import HeldMessages
from chat.moderation.telling import Telling
from chat.moderation.upkeep import ModerationUpkeep
from chat.rooms.entries import Deleted, to_body
from chat.rooms.signals import Signals
from chat.speaking.speaking import Refused, Saying
from chat.speaking.standing import PostgresStandings
from eventbus.outbox import Outbox
from events import Envelope, Event, FollowCreated, FollowDeleted
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from runtime.tokens import Caller
from tests import engines

E = TypeVar("E", bound=Event)

ROOM = uuid7()
OWNER = Caller(ROOM, "ann")


@pytest.fixture
async def pool(database: engines.Database) -> AsyncIterator[Pool]:
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as opened:
        await opened.execute("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, 'ann')", ROOM)
        yield opened


async def bodies(broker: MemoryBroker) -> list[bytes]:
    return [entry.body for entry in (await broker.read(ROOM, None, entries_max=100)).entries]


async def test_what_a_process_committed_and_did_not_tell_another_tells_once(pool: Pool) -> None:
    server = MemoryServer()
    broker, message = MemoryBroker(server), uuid7()
    telling = Telling(pool, broker, left_after_seconds=0.0)
    moderation = Moderation(Outbox(pool, source="chat"), Signals(broker), telling)
    server.go_away()
    await moderation.delete_message(OWNER, ROOM, message)  # it is done, though nobody can be told
    assert await telling.tell_left() == 0
    server.come_back()
    others = [Telling(pool, MemoryBroker(server), left_after_seconds=0.0) for _ in range(2)]
    assert await Telling(pool, broker, left_after_seconds=60.0).tell_left() == 0  # its own process may be about to
    assert [await other.tell_left() for other in others] == [1, 0]
    assert await bodies(broker) == [to_body(Deleted(message_id=message))]
    assert await pool.fetchval("SELECT count(*) FROM audit_log") == 1


async def test_an_entry_that_was_told_and_not_crossed_out_is_told_once(pool: Pool) -> None:
    broker = MemoryBroker(MemoryServer())
    telling = Telling(pool, broker, left_after_seconds=0.0)
    async with pool.acquire() as connection:
        untold = await telling.note(connection, ROOM, to_body(Deleted(message_id=uuid7())))
    await telling.tell(untold)
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO untold_entries (entry_id, channel_id, message_id, body, spooled) VALUES ($1, $2, $3, $4, $5)",
            untold.entry_id, ROOM, untold.message_id, untold.body.decode(), untold.spooled,
        )  # fmt: skip
    assert await telling.tell_left() == 1
    assert len(await bodies(broker)) == 1


async def test_follows_count_in_whatever_order_they_are_heard(pool: Pool) -> None:
    now = datetime.now(UTC)
    times = [now - timedelta(hours=hours) for hours in (5, 4, 3, 2)]
    followers, outbox = Followers(Signals(MemoryBroker(MemoryServer()))), Outbox(pool, source="chat")
    standings = PostgresStandings(pool)

    async def hear(fan: UUID, number: int) -> None:
        async with outbox.transaction() as transaction:
            at = times[number]
            if number % 2 == 0:
                created = FollowCreated(channel_id=ROOM, follower_id=fan, follower_name="fan", followed_at=at)
                await followers.on_follow_created(transaction, _envelope(created))
            else:
                deleted = FollowDeleted(channel_id=ROOM, follower_id=fan, deleted_at=at)
                await followers.on_follow_deleted(transaction, _envelope(deleted))

    for count, expected in ((4, None), (3, times[2]), (2, None), (1, times[0])):
        for order in permutations(range(count)):
            fan = uuid7()
            for number in (*order, *order):  # each comes twice
                await hear(fan, number)
            assert (await standings.find(ROOM, fan)).followed_at == expected, order


def _envelope(event: E) -> Envelope[E]:
    return Envelope(id=uuid7(), source="notify", time=datetime.now(UTC), event=event)


async def test_an_account_that_chat_was_never_told_of_is_as_old_as_its_id(pool: Pool) -> None:
    standing = await PostgresStandings(pool).find(ROOM, uuid7())
    assert standing.registered_at is not None
    assert datetime.now(UTC) - standing.registered_at < timedelta(minutes=1)


async def test_what_waited_too_long_is_gone_and_what_says_nothing_is_forgotten(pool: Pool) -> None:
    signals, outbox = Signals(MemoryBroker(MemoryServer())), Outbox(pool, source="chat")
    held = HeldMessages(outbox, signals, held_seconds=60)
    fan = Caller(uuid7(), "fan")
    await held.hold(ROOM, fan, Saying("1", "maybe"), "maybe")
    await held.hold(ROOM, fan, Saying("1", "maybe"), "maybe")  # the same once
    assert await pool.fetchval("SELECT count(*) FROM held_messages WHERE decision IS NULL") == 1
    await pool.execute("UPDATE held_messages SET expires_at = now() - interval '1 second'")
    await pool.execute(
        "INSERT INTO bans (channel_id, user_id, until, banned_by) VALUES ($1, $2, now() - interval '2 hours', $1)",
        ROOM, uuid7(),
    )  # fmt: skip
    for left, followed in ((9, 10), (9, 8), (1, 2)):
        await pool.execute(
            "INSERT INTO followers VALUES ($1, $2, now() - $3::interval, now() - $4::interval)",
            ROOM, uuid7(), timedelta(days=followed), timedelta(days=left),
        )  # fmt: skip
    upkeep = ModerationUpkeep(pool, signals, audit_months=1)
    await upkeep.look()
    assert await pool.fetchval("SELECT decision FROM held_messages") == "expired"
    assert await pool.fetchval("SELECT count(*) FROM bans") == 0
    assert await pool.fetchval("SELECT count(*) FROM followers") == 2
    with pytest.raises(Refused) as refused:
        await held.hold(ROOM, fan, Saying("1", "maybe"), "maybe")
    assert refused.value.code == "blocked-term"
    await pool.execute("UPDATE held_messages SET decided_at = now() - interval '2 days'")
    await upkeep.look()
    assert await pool.fetchval("SELECT count(*) FROM held_messages") == 0
