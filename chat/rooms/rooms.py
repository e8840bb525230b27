"""The rooms that are open on this gateway: opened at the first join, closed some time after the last leave."""

import asyncio
import secrets
from collections.abc import Sequence
from uuid import UUID

import structlog

from chat import metrics
from chat.brokers.broker import Broker
from chat.errors import BrokerUnavailable, RoomNotFound, RoomsUnavailable
from chat.rooms.directory import Directory
from chat.rooms.room import Room, RoomLimits
from chat.sockets import frames

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
ROOM_LINGER_SECONDS = 30.0
COUNT_BELIEVED_SECONDS = 3 * SWEEP_SECONDS
ROOMS_PER_COUNT = 100


class Rooms:
    """Opens and closes rooms, counts their members over all gateways. A service, which runs every room's task."""

    name = "chat-rooms"

    def __init__(self, broker: Broker, directory: Directory, limits: RoomLimits) -> None:
        self._broker = broker
        self._directory = directory
        self._limits = limits
        self._gateway = secrets.token_hex(8)
        self._open: dict[UUID, tuple[Room, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()
        self._touched = asyncio.Event()

    async def run(self) -> None:
        """Run the open rooms until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._look_up_touched(), name="chat-rooms-look-up")
            self._started.set()
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                await self._sweep()

    def open_rooms(self) -> list[Room]:
        """The rooms that are open on this gateway."""
        return [room for room, _ in self._open.values()]

    async def open(self, room_id: UUID) -> Room:
        """The room, opened if need be; raises RoomNotFound or RoomsUnavailable."""
        await self._started.wait()
        known = await self._directory.find(room_id)
        entry = self._open.get(room_id)
        if entry is not None:
            entry[0].empty_since = asyncio.get_running_loop().time()  # else it may be closed before whoever asks is in
            return entry[0]
        if self._tasks is None:
            raise RoomsUnavailable("the gateway is not running")
        room = Room(room_id, self._broker, self._limits, touched=lambda _: self._touched.set())
        room.learn(known)
        self._open[room_id] = (room, self._tasks.create_task(room.run(), name=f"chat-room-{room_id}"))
        self._broker.listen(room_id, room)
        metrics.rooms.inc()
        return room

    async def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for room_id, (room, task) in list(self._open.items()):
            if room.members_count == 0 and now - room.empty_since > ROOM_LINGER_SECONDS:
                self._close(room_id, task)
        rooms = self.open_rooms()
        for start in range(0, len(rooms), ROOMS_PER_COUNT):
            await self._count(rooms[start : start + ROOMS_PER_COUNT])
        await self._compare_versions()

    async def _compare_versions(self) -> None:
        """Find what a signal that was lost would have said."""
        if not self._open:
            return
        try:
            versions = await self._directory.versions(list(self._open))
        except RoomsUnavailable:
            return
        for room in self.open_rooms():
            if not room.ended and versions.get(room.room_id) != room.facts.version:
                room.look_up_again = True
                self._touched.set()

    def _close(self, room_id: UUID, task: "asyncio.Task[None]") -> None:
        self._broker.forget(room_id)
        del self._open[room_id]
        task.cancel()
        metrics.rooms.dec()

    async def _count(self, rooms: Sequence[Room]) -> None:
        if not self._broker.connected:
            return
        members = {room.room_id: room.members_count for room in rooms}
        try:
            counted = await self._broker.count_members(self._gateway, members, seconds=COUNT_BELIEVED_SECONDS)
        except BrokerUnavailable as error:
            log.info("chat_members_not_counted", rooms=len(rooms), reason=str(error))
            return
        for room in rooms:
            chatters = counted[room.room_id]
            if chatters != room.chatters:
                room.chatters = chatters
                room.notify_soon(frames.Presence(chatters=chatters))

    async def _look_up_touched(self) -> None:
        """Look rooms up as soon as somebody says that they changed."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            for room in self.open_rooms():
                if room.look_up_again:
                    await self._look_up(room)

    async def _look_up(self, room: Room) -> None:
        room.look_up_again = False
        try:
            room.learn(await self._directory.find(room.room_id, anew=True))
        except RoomsUnavailable:
            log.info("chat_room_not_looked_up", room=str(room.room_id))  # its version will differ at the next sweep
        except RoomNotFound:
            log.info("chat_room_ended", room=str(room.room_id), members=room.members_count)
            room.end()
