"""Nothing of a deleted person is left in chat, whatever comes late; and names are corrected by renames alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from chat import store
from chat.brokers.broker import Allowance, Conditions
from chat.brokers.broker_redis import RedisBroker
from chat.brokers.spool_redis import RedisSpool
from chat.log.writer import LogWriter
from chat.moderation.telling import Telling
from chat.people.erasing import PersonErasing
from chat.people.events import PeopleEvents
from chat.people.room_keys import RoomKeys
from chat.presence.presence import Present
from chat.presence.presence_redis import RedisPresence
from chat.rooms.entries import Mention, Said, to_body
from chat.rooms.signals import Signals
from chat.speaking.standing import PostgresStandings
from eventbus.outbox import Outbox
from runtime.erasure import Erasures, NotYet
from runtime.ids import uuid7
from runtime.postgres import Pool, open_pool
from runtime.settings import PostgresSettings
from tests.engines import Database
from tests.integration.chat.gateways import eventually
from tests.integration.remains import (
    deleted,
    erase_all,
    keys_that_say,
    renamed,
    tables_of_people,
    tables_that_say,
)

NAME = "marker_erased_7"
WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


@dataclass(frozen=True)
class World:
    """Chat's tables and keys, and whoever erases; `gone` has a room of their own, `room` is another's."""

    pool: Pool
    redis: Redis
    gone: UUID
    room: UUID
    other: UUID

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.pool, source="chat")

    @property
    def broker(self) -> RedisBroker:
        return RedisBroker(self.redis)

    @property
    def worker(self) -> Erasures:
        telling = Telling(self.pool, self.broker)
        erasing = PersonErasing(self.pool, self.outbox, telling, RoomKeys(self.redis))
        return Erasures(self.pool, erasing.steps, service="chat", again_seconds=0)

    async def hear_deleted(self) -> None:
        async with self.outbox.transaction() as transaction:
            await PeopleEvents(Signals(self.broker)).on_deleted(transaction, deleted(self.gone))

    async def hear_renamed(self, name: str, at: datetime) -> None:
        async with self.outbox.transaction() as transaction:
            await PeopleEvents(Signals(self.broker)).on_renamed(transaction, renamed(self.gone, name, at))

    async def say(self, room: UUID, user_id: UUID, username: str, text: str) -> None:
        said = Said(message_id=uuid7(), user_id=user_id, username=username, text=text, sent_at=datetime.now(UTC))
        pace = Conditions((Allowance("pace", str(user_id), 100, 60.0),))
        await self.broker.publish(room, str(said.message_id), to_body(said), pace)

    async def texts(self) -> list[str]:
        return [row["text"] for row in await self.pool.fetch("SELECT text FROM messages ORDER BY message_id")]


@pytest.fixture
async def world(database: Database, redis_url: str) -> AsyncIterator[World]:
    """Two rooms, on a Redis that is shared."""
    async with (
        open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as pool,
        Redis.from_url(redis_url) as redis,
    ):
        made = World(pool, redis, gone=uuid7(), room=uuid7(), other=uuid7())
        async with pool.acquire() as connection:
            for user_id, name in ((made.gone, NAME), (made.room, "host"), (made.other, "other")):
                await store.note_person(connection, user_id, name, datetime.now(UTC))
                await store.open_room(connection, user_id, name)
        yield made


class SpoolOf(RedisSpool):
    """What waits in the rooms of one test: others' are not its to write down."""

    def __init__(self, world: World) -> None:
        super().__init__(world.redis)
        self._rooms = (world.gone, world.room)

    async def rooms(self, *, rooms_max: int) -> Sequence[UUID]:
        return self._rooms


async def live_in(world: World) -> None:
    """All that a person can do in their room, and in another's."""
    me, room, other, one = world.gone, world.room, world.other, uuid7()
    for place, who in ((me, other), (room, me)):
        poll = uuid7()
        for statement, *arguments in (
            ("INSERT INTO moderators (channel_id, user_id, added_by) VALUES ($1, $2, $3)", place, who, me),
            ("INSERT INTO bans (channel_id, user_id, banned_by) VALUES ($1, $2, $3)", place, who, me),
            ("INSERT INTO followers (channel_id, user_id, followed_at) VALUES ($1, $2, now())", place, who),
            ("INSERT INTO subscribers (channel_id, user_id, subscribed_until) VALUES ($1, $2, now())", place, who),
            ("INSERT INTO blocked_terms (term_id, channel_id, term, folded, hold, added_by)"
             " VALUES ($1, $2, 't', 't', true, $3)", uuid7(), place, me),
            ("INSERT INTO held_messages (held_id, channel_id, user_id, username, send_id, kind, text, term, expires_at)"
             " VALUES ($1, $2, $3, $4, '1', 'message', 'x', 't', now())", uuid7(), place, who, NAME),
            ("INSERT INTO emotes (emote_id, channel_id, name, content_type, size_bytes, width_px, height_px, animated,"
             " added_by, state) VALUES ($1, $2, 'hi', 'image/png', 1, 1, 1, false, $3, 'ready')", uuid7(), place, me),
            ("INSERT INTO polls (poll_id, channel_id, question, options, started_by, ends_at)"
             " VALUES ($1, $2, '?', '{a,b}', $3, now())", poll, place, me),
            ("INSERT INTO poll_votes (poll_id, user_id, option) VALUES ($1, $2, 0)", poll, who),
            ("INSERT INTO pins (channel_id, message_id, said, pinned_by) VALUES ($1, $2, $3, $4)",
             place, one, json.dumps({"user_id": str(me)}), me),
            ("INSERT INTO log_deletions (channel_id, user_id, since, before, deleted_by)"
             " VALUES ($1, $2, 'epoch', 'epoch', $3)", place, me, me),
            ("INSERT INTO untold_entries (entry_id, channel_id, message_id, body, spooled)"
             " VALUES ($1, $2, 'm', 'b', false)",
             uuid7(), me),
            ("INSERT INTO log_tails (channel_id, epoch, last_offset) VALUES ($1, 'e', 1) ON CONFLICT DO NOTHING", me),
            ("INSERT INTO replays (stream_id, channel_id) VALUES ($1, $2)", uuid7(), me),
            ("INSERT INTO audit_log (channel_id, audit_id, actor_id, actor_name, action, target_id, target_name)"
             " VALUES ($1, $2, $3, $4, 'ban', $3, $4)", place, uuid7(), me, NAME),
        ):  # fmt: skip
            await world.pool.execute(statement, *arguments)
    await world.pool.execute(
        "INSERT INTO irc_passwords (password_id, user_id, name, password_hash)"
        " VALUES ($1, $2, 'bot', decode(repeat('00', 32), 'hex'))",
        uuid7(),
        me,
    )
    await log_messages(world)
    await world.say(me, other, "other", "in their room")
    await world.say(room, me, NAME, "waiting to be written")
    await RedisPresence(world.redis).note({me: [Present(other, "other", "viewer")]})


async def log_messages(world: World) -> None:
    """In both rooms: of the person, of another who names them and answers, and of another who does neither."""
    named = Mention(user_id=world.gone, username=NAME).model_dump(mode="json")
    answer = {"reply_to": {"message_id": str(uuid7()), "user_id": str(world.gone), "username": NAME}}
    for room in (world.gone, world.room):
        for user_id, name, text, particulars, by in (
            (world.gone, NAME, "mine", {}, None),
            (world.other, "other", f"hi @{NAME.upper()}, how are you", {"mentions": [named]}, None),
            (world.other, "other", "answers", answer, None),
            (world.other, "other", "", {}, world.gone),
            (world.other, "other", "of nobody", {}, None),
        ):
            await world.pool.execute(
                "INSERT INTO messages (channel_id, message_id, user_id, username, text, kind, particulars, epoch,"
                ' "offset", sent_at, deleted_at, deleted_by)'
                " VALUES ($1, $2, $3, $4, $5, 'message', $6, 'e', 1, now(),"
                " CASE WHEN $7::uuid IS NOT NULL THEN now() END, $7)",
                room,
                uuid7(),
                user_id,
                name,
                text,
                json.dumps(particulars),
                by,
            )


async def settle_images(world: World) -> None:
    """What keeps emotes does, once their rows say that they are to be removed."""
    await world.pool.execute("DELETE FROM emotes WHERE state = 'removing'")


@pytest.mark.parametrize("own", [True, False])
async def test_a_hold_that_is_placed_while_messages_are_erased_is_seen(world: World, own: bool) -> None:
    """In their own room as in another's."""
    await log_messages(world)
    held = world.gone if own else world.room
    kept = await world.pool.fetchval("SELECT count(*) FROM messages WHERE channel_id = $1", held)
    steps = PersonErasing(world.pool, world.outbox, Telling(world.pool, world.broker), RoomKeys(world.redis))

    async def erase() -> None:
        async for _ in (steps.erase_room if own else steps.erase_elsewhere)(world.gone):
            pass

    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO log_holds (hold_id, channel_id, reason, placed_by) VALUES ($1, $2, 'r', 'p')", uuid7(), held
        )
        erasing = asyncio.create_task(erase())
        await eventually(lambda: world.pool.fetchval(WAITS))
    await asyncio.wait([erasing])
    assert isinstance(erasing.exception(), NotYet if not own else type(None))
    assert await world.pool.fetchval("SELECT count(*) FROM messages WHERE channel_id = $1", held) == kept


async def test_nothing_of_a_deleted_person_is_left(world: World) -> None:
    await live_in(world)
    marks = (world.gone, NAME)
    before = await tables_that_say(world.pool, "chat", *marks)
    assert await tables_of_people(world.pool, "chat") - {"log_holds"} <= before, (
        "the test knows every table with people"
    )
    assert await keys_that_say(world.redis, *marks)
    await world.hear_deleted()
    assert await store.find_facts(world.pool, world.gone) is None, "nobody finds the room from the commit on"
    assert (await PostgresStandings(world.pool).find(world.room, world.gone)).banned
    row = await erase_all(world.worker, world.pool, world.gone)
    assert row["erased_at"] is None, "images of emotes are left"
    await settle_images(world)
    await world.pool.execute("UPDATE erasures SET due_at = now()")
    await erase_all(world.worker, world.pool, world.gone)
    await LogWriter(world.outbox, SpoolOf(world)).round()
    assert await tables_that_say(world.pool, "chat", *marks) == set()
    assert await keys_that_say(world.redis, *marks) == []
    assert await world.texts() == ["hi @, how are you", "answers", "", "of nobody"]
    assert await world.pool.fetchval("SELECT action FROM audit_log") == "ban", "that it was done is kept"


async def test_what_comes_late_brings_nobody_back(world: World) -> None:
    await world.hear_deleted()
    await erase_all(world.worker, world.pool, world.gone)
    now = datetime.now(UTC)
    async with world.pool.acquire() as connection:
        await store.note_person(connection, world.gone, NAME, now)
        await store.open_room(connection, world.gone, NAME)
        await store.start_stream(connection, world.gone, NAME, uuid7(), now)
        await store.end_stream(connection, world.gone, uuid7(), now, now)
    await world.hear_renamed(NAME, now)
    await world.pool.execute(
        "INSERT INTO followers (channel_id, user_id, followed_at) VALUES ($1, $2, now())", world.room, world.gone
    )
    assert await tables_that_say(world.pool, "chat", world.gone, NAME) == set()


async def test_what_a_hold_keeps_waits_where_nobody_finds_it(world: World) -> None:
    await log_messages(world)
    await world.pool.execute(
        "INSERT INTO log_holds (hold_id, channel_id, reason, placed_by) VALUES ($1, $2, 'r', 'p')", uuid7(), world.gone
    )
    await world.hear_deleted()
    await erase_all(world.worker, world.pool, world.gone)
    assert await world.pool.fetchval("SELECT count(*) FROM messages WHERE channel_id = $1", world.gone) == 5
    assert await world.pool.fetchval("SELECT erased_at FROM erasures") is None
    await world.pool.execute("UPDATE log_holds SET released_at = now()")
    await world.pool.execute("UPDATE erasures SET due_at = now()")
    await erase_all(world.worker, world.pool, world.gone)
    assert await tables_that_say(world.pool, "chat", NAME) == set()


async def test_only_the_newest_rename_corrects_a_name(world: World) -> None:
    now = datetime.now(UTC)
    for name, at in (("is_ada", now), ("older", now - timedelta(hours=1))):
        await world.hear_renamed(name, at)
    async with world.pool.acquire() as connection:
        await store.note_person(connection, world.gone, NAME)  # their token says the name of before
        before = now - timedelta(seconds=1)
        await store.start_stream(connection, world.gone, NAME, uuid7(), before)  # said before the rename was heard
    facts = await store.find_facts(world.pool, world.gone)
    assert facts is not None
    assert facts.channel_name == "is_ada"
    assert await world.pool.fetchval("SELECT username FROM people WHERE user_id = $1", world.gone) == "is_ada"
