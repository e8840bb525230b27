"""A room over the memory broker, and members of it that keep their position as the protocol says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from chat.brokers.broker import Conditions, Position, Retention
from chat.brokers.broker_memory import MemoryBroker, MemoryServer
from chat.rooms.audience import Seat
from chat.rooms.entries import message_body
from chat.rooms.room import Room, RoomLimits
from chat.sockets import frames

LIMITS = RoomLimits(tick_seconds=0.02, history_messages_max=5, recovery_messages_max=40)


def split(blob: bytes) -> list[dict[str, Any]]:
    """The JSON of each WebSocket frame in a piece of bytes."""
    found = []
    while blob:
        assert blob[0] == 0x81
        size, head = blob[1], 2
        if size == 126:
            size, head = int.from_bytes(blob[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(blob[2:10], "big"), 10
        found.append(json.loads(blob[head : head + size]))
        blob = blob[head + size :]
    return found


@dataclass(eq=False)
class Client:
    """A member that remembers its frames and keeps its position as the protocol says."""

    writes: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    position: Position | None = None
    gaps: int = 0
    seat: Seat | None = None

    def write(self, frames: bytes) -> None:
        self.writes.append(frames)
        for frame in split(frames):
            if frame["type"] == "messages":
                self.take(frame["messages"], frame["epoch"])
            elif frame["type"] == "gap":
                self.gaps += 1
                self.offsets.append(-1)
                self.take(frame["history"], frame["epoch"])
                self.position = Position(frame["offset"], frame["epoch"])

    def take(self, messages: list[dict[str, Any]], epoch: str) -> None:
        for message in messages:
            self.offsets.append(message["offset"])
            self.texts.append(message.get("text", ""))
            self.position = Position(message["offset"], epoch)

    @property
    def kinds(self) -> list[str]:
        return [frame["type"] for blob in self.writes for frame in split(blob)]

    @property
    def place(self) -> Seat:
        assert self.seat is not None
        return self.seat

    async def join(self, room: Room, since: Position | None = None, *, moderates: bool = False) -> bool:
        await room.ready()
        start = await room.start_after(since, moderates=moderates)
        self.position = start.position
        for message in start.history:
            self.offsets.append(json.loads(message)["offset"])
            self.texts.append(json.loads(message).get("text", ""))
        self.seat = Seat(self, frames.CHAT_FRAMES, moderates=moderates)
        room.join(self.seat)
        return start.recovered

    def leave(self, room: Room) -> None:
        if self.seat is not None:
            room.leave(self.seat)


@dataclass
class World:
    server: MemoryServer
    links: list[MemoryBroker]
    rooms: list[Room]
    room_id: UUID
    said: int = 0

    async def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.said += 1
            body = message_body(uuid4(), uuid4(), "ann", f"t{self.said}", datetime.now(UTC))
            await self.links[0].publish(self.room_id, f"m{self.said}", body, Conditions())

    async def post(self, body: bytes) -> None:
        await self.links[0].publish(self.room_id, str(uuid4()), body, Conditions())


@asynccontextmanager
async def world_of(
    gateways: int, limits: RoomLimits = LIMITS, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[World]:
    server = MemoryServer(Retention(entries_max=50))
    links = [MemoryBroker(server) for _ in range(gateways)]
    room_id = uuid4()
    rooms = [Room(room_id, link, limits, clock) for link in links]
    tasks = [asyncio.create_task(room.run()) for room in rooms]
    for link, room in zip(links, rooms, strict=True):
        link.listen(room_id, room)
    try:
        yield World(server, links, rooms, room_id)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  a condition with a deadline
            await asyncio.sleep(0.002)
