"""The log: what was accepted is said and written down once, in order, and what is taken back is seen by nobody."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from chat.brokers.broker import Conditions
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.brokers.spool import SpooledMessage
from chat.brokers.spool_memory import MemorySpool
from chat.log import store
from chat.log.api import HistoryApi
from chat.log.eraser import Eraser
from chat.log.retention import LogRetention, place_hold, release_hold
from chat.log.store import Wanted
from chat.log.writer import LogWriter
from chat.rooms.entries import RepliedTo, Said, message_body, to_body
from eventbus.outbox import Outbox, Transaction
from runtime.http_server import HttpServer
from runtime.ids import uuid7, uuid7_floor
from runtime.postgres import Pool, open_pool
from runtime.settings import HttpSettings, PostgresSettings
from tests.contract.held_client import HeldClient, held_client
from tests.engines import Database
from tests.integration.chat.gateways import Person, Site, eventually

WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"

FREE = Conditions()
SOON_SECONDS = 15.0
"""A second as a rule; more where other tests keep the machine busy."""
ADA, BOB, MODERATOR = uuid7(), uuid7(), uuid7()


@dataclass
class Place:
    """A room whose messages are accepted by a broker in memory, and the database that keeps them."""

    pool: Pool
    server: MemoryServer = field(default_factory=MemoryServer)
    room: UUID = field(default_factory=uuid7)

    def writer(self) -> LogWriter:
        return LogWriter(Outbox(self.pool, source="chat"), MemorySpool(self.server))

    async def say(self, text: str, user: UUID = ADA, *, sent_at: datetime | None = None) -> UUID:
        message_id = uuid7()
        body = message_body(message_id, user, "ada", text, sent_at or datetime.now(UTC))
        await self.publish(message_id, body)
        return message_id

    async def publish(self, message_id: UUID, body: bytes) -> None:
        await MemoryBroker(self.server).publish(self.room, str(message_id), body, FREE)

    async def said(self) -> list[str]:
        """The texts in the outbox, in the order of what was said of this room."""
        rows = await self.pool.fetch(
            "SELECT data FROM outbox WHERE type = 'chat-message.sent' AND key = $1 ORDER BY id", str(self.room).encode()
        )
        return [json.loads(row["data"])["text"] for row in rows]

    async def history(self, **wanted: object) -> list[str]:
        """The texts that history shows, oldest first."""
        found = await store.list_messages(self.pool, Wanted(self.room, **wanted), rows_max=1_000)  # type: ignore[arg-type]  # tests name what they want
        return [one.text for one in reversed(found)]

    async def texts(self) -> list[str]:
        """Every text that the table still has."""
        rows = await self.pool.fetch("SELECT text, particulars FROM messages WHERE channel_id = $1", self.room)
        return [f"{row['text']}{row['particulars']}" for row in rows]

    async def take_back(
        self, message_id: UUID | None = None, user_id: UUID | None = None, before: datetime | None = None
    ) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await store.mark_deleted(
                connection,
                self.room,
                message_id=message_id,
                user_id=user_id,
                before=before or datetime.now(UTC),
                by=MODERATOR,
            )


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    async with open_pool(PostgresSettings(postgres_dsn=database.dsn), schema="chat") as pool:
        made = Place(pool)
        await pool.execute("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, 'ada')", made.room)
        yield made


@pytest.fixture
async def client(place: Place) -> AsyncIterator[HeldClient]:
    apis = [HistoryApi(place.pool)]
    async with held_client(HttpServer(apis, settings=HttpSettings()), apis) as made:
        yield made


def numbers(count: int, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + count)]


async def say_all(place: Place, texts: Sequence[str]) -> None:
    for text in texts:
        await place.say(text)


async def test_what_is_accepted_is_said_and_kept_once_and_in_order(place: Place) -> None:
    await say_all(place, numbers(1_203))
    writers = [place.writer() for _ in range(4)]
    while await MemorySpool(place.server).depth(place.room):
        await asyncio.gather(*(writer.round() for writer in writers))
    assert await place.said() == numbers(1_203)
    assert await place.history() == numbers(1_203)[-1_000:]


async def test_what_was_written_and_is_still_waiting_is_not_written_again(place: Place) -> None:
    """A writer that is killed before it settles, and a server that has forgotten what was settled, are the same."""
    await say_all(place, numbers(40))
    spool = place.server.room(place.room).spool
    before = dict(spool)
    await place.writer().round()
    assert not spool
    await say_all(place, numbers(3, 40))
    await place.writer().round()
    spool.update(before)
    assert await place.writer().round() == 40
    assert not spool
    assert await place.said() == numbers(43) == await place.history()


async def test_a_new_epoch_counts_anew(place: Place) -> None:
    await say_all(place, numbers(5))
    await place.writer().round()
    place.server.room(place.room).epoch, place.server.room(place.room).offset = "another", 0
    await say_all(place, numbers(5, 5))
    await place.writer().round()
    assert await place.said() == numbers(10)


async def test_a_writer_that_loses_its_transaction_has_done_nothing(place: Place) -> None:
    class Frozen(MemorySpool):
        """Reads, and loses the connection as one that was frozen for too long does."""

        async def waiting(self, room: UUID, *, entries_max: int) -> Sequence[SpooledMessage]:
            found = await super().waiting(room, entries_max=entries_max)
            await place.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
            return found

    await say_all(place, numbers(3))
    with pytest.raises(Exception):  # noqa: B017  whatever asyncpg makes of a lost connection
        await LogWriter(Outbox(place.pool, source="chat"), Frozen(place.server)).round()
    assert await place.said() == []
    await place.writer().round()
    assert await place.said() == numbers(3) == await place.history()


async def test_nothing_leaves_the_spool_before_the_commit_that_has_it(place: Place) -> None:
    class Torn(Outbox):
        """Its connection is lost before the commit."""

        @asynccontextmanager
        async def transaction(self) -> AsyncIterator[Transaction]:
            async with super().transaction() as transaction:
                yield transaction
                raise ConnectionResetError("lost")

    await say_all(place, numbers(3))
    with pytest.raises(ConnectionResetError):
        await LogWriter(Torn(place.pool, source="chat"), MemorySpool(place.server)).round()
    assert await MemorySpool(place.server).depth(place.room) == 3
    await place.writer().round()
    assert await place.said() == numbers(3)


async def test_a_room_without_a_log_is_said_and_not_kept(place: Place) -> None:
    await place.pool.execute("UPDATE rooms SET rules = '{\"permanent_log\": false}' WHERE channel_id = $1", place.room)
    await say_all(place, numbers(2))
    await place.writer().round()
    assert await place.said() == numbers(2)
    assert await place.history() == []


async def test_a_message_knows_the_stream_that_was_live_when_it_was_sent(place: Place) -> None:
    now, stream = datetime.now(UTC), uuid7()
    await place.pool.execute(
        "UPDATE rooms SET stream_id = $2, started_at = $3, ended_at = $4 WHERE channel_id = $1",
        place.room, stream, now - timedelta(minutes=9), now - timedelta(minutes=1),
    )  # fmt: skip
    for minutes in (10, 5, 0):
        await place.say(str(minutes), sent_at=now - timedelta(minutes=minutes))
    await place.writer().round()
    found = await store.list_messages(place.pool, Wanted(place.room), rows_max=9)
    assert {one.text: one.stream_id for one in found} == {"10": None, "5": stream, "0": None}


async def test_what_is_no_message_or_cannot_be_stored_holds_nothing_up(place: Place) -> None:
    await place.publish(uuid7(), b'{"kind":"message","text":"torn"}')
    await place.say("a\x00b")
    await place.say("c")
    await place.writer().round()
    assert await place.history() == ["a\ufffdb", "c"]


async def test_what_is_taken_back_is_seen_by_nobody_whenever_it_is_written_down(place: Place) -> None:
    early = await place.say("early secret")
    await place.writer().round()
    late = await place.say("late secret", BOB)
    await place.take_back(early)
    await place.take_back(late)
    assert await place.history() == []
    await place.writer().round()
    await place.say("kept", BOB)
    await place.writer().round()
    assert await place.history() == ["kept"]
    assert await place.history(words="secret") == []
    assert await Eraser(place.pool, settled_seconds=0).erase()
    assert await Eraser(place.pool, settled_seconds=0).erase()
    assert not await Eraser(place.pool, settled_seconds=0).erase()
    assert not any("secret" in text for text in await place.texts())
    assert await place.history() == ["kept"]
    assert place.room in {row["channel_id"] for row in await place.pool.fetch("SELECT channel_id FROM log_deletions")}


async def test_a_deletion_that_was_applied_long_ago_covers_what_is_written_down_only_now(place: Place) -> None:
    late, kept = await place.say("late secret"), await place.say("kept", BOB)
    await place.take_back(late)
    await place.take_back(user_id=ADA)
    while await Eraser(place.pool, settled_seconds=0).erase():
        pass
    await place.writer().round()
    assert await place.history() == ["kept"]
    assert not any("secret" in text for text in await place.texts())
    assert await place.said() == ["late secret", "kept"]
    found = await place.pool.fetchrow("SELECT deleted_by FROM messages WHERE message_id = $1", late)
    assert found is not None and found["deleted_by"] == MODERATOR
    assert await place.pool.fetchval("SELECT deleted_at FROM messages WHERE message_id = $1", kept) is None


async def test_a_clear_reaches_what_was_said_before_it_and_nothing_else(place: Place) -> None:
    now = datetime.now(UTC)
    await place.say("old", sent_at=now - timedelta(days=2))
    await place.say("ada before")
    await place.say("bob before", BOB)
    await place.take_back(user_id=BOB, before=datetime.now(UTC))
    await place.say("bob after", BOB)
    await place.writer().round()
    assert await place.history() == ["old", "ada before", "bob after"]
    await place.take_back(before=datetime.now(UTC))
    assert await place.history() == ["old"]
    while await Eraser(place.pool, settled_seconds=0).erase():
        pass
    assert not any("before" in text for text in await place.texts())


async def test_an_answer_does_not_keep_the_words_that_were_taken_back(place: Place) -> None:
    first = await place.say("the secret")
    answered = RepliedTo(message_id=first, user_id=ADA, username="ada", text="the secret")
    answer = Said(
        message_id=uuid7(), user_id=BOB, username="bob", text="sure", sent_at=datetime.now(UTC), reply_to=answered
    )
    await place.publish(answer.message_id, to_body(answer))
    await place.writer().round()
    found = await store.list_messages(place.pool, Wanted(place.room), rows_max=2)
    assert found[0].particulars["reply_to"]["text"] == "the secret"
    await place.take_back(first)
    found = await store.list_messages(place.pool, Wanted(place.room), rows_max=2)
    assert [one.text for one in found] == ["sure"]
    assert "secret" not in json.dumps(found[0].particulars)


async def test_history_pages_newest_first_and_finds_words_people_and_times(place: Place, client: HeldClient) -> None:
    now = datetime.now(UTC)
    for number in range(7):
        await place.say(f"number {number}", BOB if number % 2 else ADA)
    await place.writer().round()
    base = f"/api/chat/{place.room}/messages"
    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"{base}?limit=3{cursor and '&cursor='}{cursor}")).body
        pages.append([item["text"] for item in page["items"]])
        cursor = page["next_cursor"]
    assert pages == [["number 6", "number 5", "number 4"], ["number 3", "number 2", "number 1"], ["number 0"]]

    async def texts(query: dict[str, str]) -> list[str]:
        answer = await client.get(base, params=query)
        assert answer.status == 200, answer.body
        return [item["text"] for item in answer.body["items"]]

    assert await texts({"q": "number 3"}) == ["number 3"]
    assert await texts({"q": '"3 number"'}) == []
    assert await texts({"user_id": str(BOB)}) == ["number 5", "number 3", "number 1"]
    assert await texts({"q": "number -3", "user_id": str(BOB)}) == ["number 5", "number 1"]
    assert await texts({"to": now.isoformat()}) == []
    assert len(await texts({"from": now.isoformat(), "q": "number"})) == 7
    other = f"/api/chat/{uuid7()}/messages"
    assert (await client.get(other, params={"q": "number"})).body["items"] == []
    assert (await client.get(base, params={"limit": "101"})).status == 422


async def test_messages_go_when_their_room_keeps_them_no_longer_and_no_hold_does(place: Place) -> None:
    now = datetime.now(UTC)

    async def old(days: int) -> None:
        aged = UUID(int=uuid7_floor(now - timedelta(days=days)).int | uuid7().int & ((1 << 80) - 1))
        body = message_body(aged, ADA, "ada", f"{days} days", now - timedelta(days=days))
        await place.publish(aged, body)

    for days in (40, 20, 5):
        await old(days)
    await place.writer().round()
    retention = LogRetention(place.pool, log_days=30)
    hold_id = uuid7()
    async with place.pool.acquire() as connection, connection.transaction():
        await store.QUERIES.place_log_hold(
            connection, hold_id=hold_id, channel_id=place.room, reason="case 7", placed_by="ada"
        )
        working = asyncio.create_task(retention.round(now))
        await eventually(lambda: place.pool.fetchval(WAITS))
    assert await working == [], "a hold that is being placed meanwhile is seen"
    await place_hold(place.pool, hold_id, place.room, reason="case 7", placed_by="ada")

    async def due() -> list[tuple[int, bool]]:
        return [(room.messages, room.held) async for room in retention.due(now) if room.channel_id == place.room]

    assert await due() == [(1, True)]
    assert await retention.round(now) == []
    assert await place.history() == ["40 days", "20 days", "5 days"]
    assert await release_hold(place.pool, hold_id, released_by="ada")
    assert await due() == [(1, False)]
    assert [room.messages for room in await retention.round(now)] == [1]
    assert await place.history() == ["20 days", "5 days"]
    await place.pool.execute("UPDATE rooms SET rules = '{\"log_days\": 10}' WHERE channel_id = $1", place.room)
    await retention.round(now)
    assert await place.history() == ["5 days"]


async def test_a_month_that_no_room_keeps_is_dropped_whole(place: Place) -> None:
    first, last = (uuid7_floor(datetime(2020, month, 1, tzinfo=UTC)) for month in (1, 2))
    await place.pool.execute(
        f"CREATE TABLE messages_2020_01 PARTITION OF messages FOR VALUES FROM ('{first}') TO ('{last}')"
    )
    hold_id = uuid7()
    await place_hold(place.pool, hold_id, None, reason="a backup is restored", placed_by="ada")

    async def is_there() -> bool:
        await LogRetention(place.pool, log_days=30).round(datetime.now(UTC))
        return await place.pool.fetchval("SELECT to_regclass('messages_2020_01')") is not None

    assert await is_there()
    await release_hold(place.pool, hold_id, released_by="ada")
    await place.pool.execute("UPDATE rooms SET rules = '{\"log_days\": 3650}' WHERE channel_id = $1", place.room)
    assert await is_there()
    await place.pool.execute("UPDATE rooms SET rules = '{}' WHERE channel_id = $1", place.room)
    assert not await is_there()


async def test_what_a_gateway_accepted_is_in_its_history_soon(site: Site, streamer: Person) -> None:
    gateway = await site.start()
    speaker = site.client(streamer.user_id, Person("bob"))
    await speaker.join(gateway)
    for number in range(3):
        assert (await speaker.say(f"m{number}", f"text {number}"))["type"] == "accepted"
    accepted_at = time.monotonic()

    async def is_there() -> bool:
        async with site.session.get(f"{gateway.url}/api/chat/{streamer.user_id}/messages?q=text") as answer:
            return [item["text"] for item in (await answer.json())["items"]] == ["text 2", "text 1", "text 0"]

    await eventually(is_there)
    assert time.monotonic() - accepted_at < SOON_SECONDS

    async def are_counted() -> bool:
        async with site.session.get(f"{gateway.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        (counted,) = [line for line in lines if line.startswith("livestream_chat_log_messages_total ")]
        # A gateway also writes down what those of earlier tests have left.
        return float(counted.split()[1]) >= 3

    # What is committed can be read before it is counted.
    await eventually(are_counted)
    await speaker.leave()
