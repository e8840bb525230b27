"""One gateway's rooms, extras and APIs in this process, over a real database and a broker in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from uuid import UUID

from PIL import Image

from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.emotes.api import EmoteApi
from chat.emotes.images import ImageCache
from chat.emotes.store import Emotes
from chat.extras.announcements import AnnouncementApi
from chat.extras.deadlines import Deadlines
from chat.extras.pins import PinApi
from chat.polls.api import PollApi
from chat.polls.store import Polls
from chat.presence.api import RoomApi
from chat.presence.presence_memory import MemoryPresence
from chat.rooms.directory import Directory
from chat.rooms.entries import Said, read_body
from chat.rooms.facts import RoomFacts
from chat.rooms.room import Room, RoomLimits
from chat.rooms.rooms import Rooms
from chat.rooms.signals import Signals
from chat.speaking.composing import EntryComposer
from chat.speaking.gatekeeper import RulesGatekeeper
from chat.speaking.mentions import Mentions
from chat.speaking.speaking import Speaking
from chat.speaking.standing import OwnersAlone
from chat.store import find_facts, find_versions
from runtime.health import Health
from runtime.http_server import HttpServer
from runtime.ids import uuid7
from runtime.objects import ObjectStore
from runtime.postgres import Pool
from runtime.settings import HttpSettings
from runtime.tokens import Caller, InvalidToken
from tests.contract.held_client import HeldClient, held_client
from tests.integration.chat.gateways import Person

EMOTES_MAX = 3


class NamedTokens:
    """Takes tokens that are ``<user id> <name>``."""

    async def verify(self, token: str) -> Caller:
        """Whose it is."""
        try:
            user_id, name = token.split(" ")
            return Caller(UUID(user_id), name)
        except ValueError as error:
            raise InvalidToken("not a token of these tests") from error


def token_of(person: Person) -> str:
    return f"{person.user_id} {person.name}"


@dataclass
class World:
    """A room of ``owner``, moderated by ``moderator``; ``viewer`` is neither."""

    pool: Pool
    client: HeldClient
    server: MemoryServer
    broker: MemoryBroker
    directory: Directory
    rooms: Rooms
    speaking: Speaking
    presence: MemoryPresence
    deadlines: Deadlines
    emotes: Emotes
    objects: ObjectStore
    owner: Person
    moderator: Person
    viewer: Person = field(default_factory=lambda: Person("viewer"))

    @property
    def path(self) -> str:
        return f"/api/chat/{self.owner.user_id}"

    async def facts(self) -> RoomFacts:
        return await self.directory.find(self.owner.user_id, anew=True)

    async def room(self) -> Room:
        return await self.rooms.open(self.owner.user_id)

    async def said(self) -> list[Said]:
        """What the room has, oldest first."""
        reading = await self.broker.read(self.owner.user_id, None, entries_max=500)
        return [body for body in (read_body(entry.body) for entry in reading.entries) if isinstance(body, Said)]


async def know(pool: Pool, *people: Person) -> None:
    """Have chat heard of people."""
    await pool.executemany(
        "INSERT INTO people (user_id, username) VALUES ($1, $2)", [(one.user_id, one.name) for one in people]
    )


async def make_room(pool: Pool, owner: Person, *moderators: Person) -> None:
    await pool.execute("INSERT INTO rooms (channel_id, channel_name) VALUES ($1, $2)", owner.user_id, owner.name)
    await pool.executemany(
        "INSERT INTO moderators (channel_id, user_id, added_by) VALUES ($1, $2, $1)",
        [(owner.user_id, moderator.user_id) for moderator in moderators],
    )


@asynccontextmanager
async def open_world(pool: Pool, objects: ObjectStore, server: MemoryServer | None = None) -> AsyncIterator[World]:
    """A world whose services run."""
    owner, moderator = Person("owner"), Person("moderator")
    await make_room(pool, owner, moderator)
    server = server or MemoryServer()
    broker = MemoryBroker(server)
    directory = Directory(partial(find_facts, pool), partial(find_versions, pool))
    rooms = Rooms(broker, directory, RoomLimits(tick_seconds=0.01))
    gatekeeper = RulesGatekeeper(messages_per_minute=100)
    speaking = Speaking(broker, OwnersAlone(), gatekeeper, EntryComposer(Mentions(pool, patience_seconds=30).find))
    signals = Signals(broker)
    presence = MemoryPresence()
    emotes = Emotes(pool, signals, objects, emotes_max=EMOTES_MAX)
    deadlines = Deadlines(pool, signals)
    apis = [
        RoomApi(directory, rooms, broker, presence),
        EmoteApi(pool, directory, emotes, ImageCache(objects, emotes.content_type_of)),
        PollApi(Polls(pool, signals), directory),
        PinApi(pool, broker, signals),
        AnnouncementApi(pool, rooms, speaking),
    ]
    http = HttpServer(apis, settings=HttpSettings(), verifier=NamedTokens(), health=Health())
    async with AsyncExitStack() as stack:
        services = [asyncio.create_task(service.run()) for service in (rooms, signals)]
        client = await stack.enter_async_context(held_client(http, apis))
        yield World(
            pool,
            client,
            server,
            broker,
            directory,
            rooms,
            speaking,
            presence,
            deadlines,
            emotes,
            objects,
            owner,
            moderator,
        )
        for task in services:
            task.cancel()
        await asyncio.gather(*services, return_exceptions=True)


def picture(kind: str = "PNG", size: tuple[int, int] = (32, 24), frames: int = 1) -> bytes:
    """A small image; of several frames it is animated."""
    file = BytesIO()
    pictures = [Image.new("RGBA", size, (40 * number % 256, 10, 200, 255)) for number in range(frames)]
    if frames > 1:
        pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=50, loop=0)
    else:
        pictures[0].save(file, kind)
    return file.getvalue()


def disk_directory(tmp_path: Path) -> Path:
    return tmp_path / f"emotes-{uuid7()}"
