"""What rooms say of new followers: a line each while they are few, one for a crowd; nobody waits for it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.extras.follow_notes import LINES_PER_MINUTE_MAX, FollowNotes
from chat.rooms.directory import Directory
from chat.rooms.entries import Said, read_body
from chat.rooms.facts import RoomFacts
from chat.speaking.rules import OPEN, Rules
from eventbus.outbox import Transaction
from events import Envelope, FollowCreated
from runtime.ids import uuid7

MINUTE_SECONDS = 0.3


@dataclass
class World:
    """A channel, and what its room says."""

    rules: Rules = OPEN
    channel_id: UUID = field(default_factory=uuid4)
    server: MemoryServer = field(default_factory=MemoryServer)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.server)
        self.notes = FollowNotes(self.broker, Directory(self._find, self._versions), minute_seconds=MINUTE_SECONDS)

    async def follow(
        self, name: str, *, follower: UUID | None = None, ago_seconds: float = 0.0
    ) -> Envelope[FollowCreated]:
        moment = datetime.now(UTC) - timedelta(seconds=ago_seconds)
        event = FollowCreated(
            channel_id=self.channel_id, follower_id=follower or uuid4(), follower_name=name, followed_at=moment
        )
        envelope = Envelope(id=uuid7(), source="notify", time=moment, event=event, traceparent=None)
        await self.hear(envelope)
        return envelope

    async def hear(self, envelope: Envelope[FollowCreated]) -> None:
        await self.notes.on_follow_created(UNUSED, envelope)

    async def said(self) -> list[Said]:
        reading = await self.broker.read(self.channel_id, None, entries_max=500)
        return [body for body in (read_body(entry.body) for entry in reading.entries) if isinstance(body, Said)]

    async def texts(self) -> list[str]:
        return [said.text for said in await self.said()]

    async def _find(self, room_id: UUID) -> RoomFacts | None:
        return RoomFacts(room_id, "streamer", None, rules=self.rules) if room_id == self.channel_id else None

    async def _versions(self, room_ids: object) -> dict[UUID, int]:
        return {}


UNUSED: Transaction = Transaction.__new__(Transaction)  # a note has no effect in the database


async def test_a_room_says_once_who_follows_now_however_often_it_hears_of_it() -> None:
    world = World()
    envelope = await world.follow("bob")
    await world.hear(envelope)
    (said,) = await world.said()
    assert (said.kind, said.about, said.text, said.username) == ("system", "follow", "bob follows now", "bob")
    assert said.message_id == envelope.id


async def test_a_room_that_does_not_want_it_says_nothing() -> None:
    world = World(Rules(announce_follows=False))
    await world.follow("bob")
    assert await world.texts() == []


async def test_a_channel_that_nobody_knows_is_passed_over() -> None:
    world = World()
    world.channel_id, known = uuid4(), world.channel_id
    await world.notes.on_follow_created(
        UNUSED,
        Envelope(
            id=uuid7(),
            source="notify",
            time=datetime.now(UTC),
            event=FollowCreated(
                channel_id=known, follower_id=uuid4(), follower_name="bob", followed_at=datetime.now(UTC)
            ),
            traceparent=None,
        ),
    )
    assert await world.texts() == []


async def test_whoever_leaves_and_follows_again_is_told_of_once() -> None:
    world, follower = World(), uuid4()
    for _ in range(3):
        await world.follow("bob", follower=follower)
    assert await world.texts() == ["bob follows now"]


async def test_what_is_heard_late_is_not_said() -> None:
    world = World()
    await world.follow("bob", ago_seconds=301)
    assert await world.texts() == []


async def test_a_crowd_is_one_line() -> None:
    world = World()
    for number in range(LINES_PER_MINUTE_MAX + 25):
        await world.follow(f"user{number}")
    assert await world.texts() == [f"user{number} follows now" for number in range(LINES_PER_MINUTE_MAX)]
    await world.notes.sum_up()
    assert len(await world.texts()) == LINES_PER_MINUTE_MAX, "its minute is not over"
    async with asyncio.timeout(10):
        while len(await world.texts()) == LINES_PER_MINUTE_MAX:
            await asyncio.sleep(MINUTE_SECONDS / 10)
            await world.notes.sum_up()
    assert (await world.texts())[-1] == "user34 and 24 more follow now"
    await world.notes.sum_up()
    assert len(await world.texts()) == LINES_PER_MINUTE_MAX + 1
    await world.follow("after")
    assert (await world.texts())[-1] == "after follows now"


async def test_a_broker_that_is_away_holds_nobody_up() -> None:
    world = World()
    world.server.go_away()
    async with asyncio.timeout(10):
        for number in range(1_000):
            await world.follow(f"user{number}")
    world.server.come_back()
    await world.follow("bob")
    assert await world.texts() == ["bob follows now"]
