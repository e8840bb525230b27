"""The spool on Redis: a stream per room beside the room's other keys, and an index of the rooms that may have one.

A room and the index may live on different servers of a cluster, so no step writes both. A gateway notes a room in the
index before its first message to it, again every minute in which it publishes there, and whenever the room's epoch
changes, since whatever changed it may have cost the index too. A room leaves the index when its spool is empty and the
last note is ten minutes old: no gateway relies on a note that long. What the index loses all the same is found by
`spool_redis_sweep`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from chat.brokers.redis_calls import RedisCalls, answers_of, milliseconds, room_key
from chat.brokers.spool import SpooledMessage
from chat.brokers.spool_redis_sweep import SpoolSweep
from chat.errors import BrokerUnavailable

INDEX = "chat:spools"
NOTE_SECONDS = 60.0
NOTE_HOLDS_SECONDS = 600.0
NOTED_ROOMS_MAX = 20_000
NAMES_PER_COMMAND_MAX = 500
ROOMS_PER_COMMAND_MAX = 100

_HOLDS_MS = milliseconds(NOTE_HOLDS_SECONDS)


class SpoolNotes:
    """What one gateway has noted in the index."""

    def __init__(self, calls: RedisCalls, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._clock = clock
        self._note = calls.script("note_room")
        self._noted: dict[UUID, tuple[float, str]] = {}

    async def before(self, room: UUID) -> None:
        """Make sure that the room is in the index; raises BrokerUnavailable if that cannot be said."""
        noted = self._noted.get(room)
        if noted is None or self._clock() - noted[0] > NOTE_SECONDS:
            await self._write(room, "" if noted is None else noted[1])

    async def after(self, room: UUID, epoch: str) -> None:
        """Note the room again if the note of before may not have held until the message was written."""
        at, known = self._noted.get(room, (-NOTE_HOLDS_SECONDS, ""))
        if known == epoch and self._clock() - at <= 2 * NOTE_SECONDS:
            return
        if not known and self._clock() - at <= NOTE_SECONDS:
            self._noted[room] = (at, epoch)
            return
        await self._write(room, epoch)

    async def _write(self, room: UUID, epoch: str) -> None:
        at = self._clock()
        await self._calls.run(self._note, [INDEX], [str(room)])
        self._noted[room] = (at, epoch)
        if len(self._noted) > NOTED_ROOMS_MAX:
            self._noted = {key: noted for key, noted in self._noted.items() if at - noted[0] <= NOTE_SECONDS}


class RedisSpool:
    """Reads what waits, and drops what is kept."""

    def __init__(self, redis: Redis) -> None:
        self._calls = RedisCalls(redis)
        self._drop_rooms = self._calls.script("drop_rooms")
        self._drop_empty = self._calls.script("drop_empty_spool")
        self._look = self._calls.script("look_at_spools")
        self._sweep = SpoolSweep(self._calls)
        self._from = 0

    async def rooms(self, *, rooms_max: int) -> Sequence[UUID]:
        for room in await self._sweep.step():
            await self._calls.command(INDEX, "ZADD", INDEX, "NX", "0", str(room))  # a note that holds no longer
        first, last = self._from, self._from + rooms_max - 1
        if self._calls.nodes is None:
            noted, waiting, empty = await self._calls.run(self._look, [INDEX], [first, last, _HOLDS_MS])
        else:
            noted, waiting, empty = await self._look_at_cluster(first, last)
        self._from = self._from + rooms_max if noted == rooms_max else 0
        await self._drop(empty)
        return [UUID(name.decode()) for name in waiting]

    async def waiting(self, room: UUID, *, entries_max: int) -> Sequence[SpooledMessage]:
        key = _spool(room)
        found = await self._calls.ask(key, lambda client: client.xrange(key, count=entries_max))
        return _messages(found)

    async def waiting_in(self, rooms: Sequence[UUID], *, entries_max: int) -> Sequence[Sequence[SpooledMessage]]:
        if self._calls.nodes is not None:  # no command for several slots
            return await asyncio.gather(*(self.waiting(room, entries_max=entries_max) for room in rooms))
        if not rooms:
            return []
        keys = [_spool(room) for room in rooms]
        from_start: dict[Any, Any] = dict.fromkeys(keys, "0-0")
        found = await self._calls.ask(keys[0], lambda client: client.xread(from_start, count=entries_max))
        by_key = dict(found or ())
        return [_messages(by_key.get(key.encode(), ())) for key in keys]

    async def settle_in(self, spool_ids: Mapping[UUID, Sequence[str]]) -> None:
        if self._calls.nodes is not None:
            for room, names in spool_ids.items():
                await self.settle(room, names)
            return
        rooms = list(spool_ids)
        for start in range(0, len(rooms), ROOMS_PER_COMMAND_MAX):
            await self._settle_at_once({room: spool_ids[room] for room in rooms[start : start + ROOMS_PER_COMMAND_MAX]})

    async def _settle_at_once(self, spool_ids: Mapping[UUID, Sequence[str]]) -> None:
        """One pipeline to the one server."""

        def ask(client: Redis) -> Awaitable[list[int]]:
            pipeline = client.pipeline(transaction=False)
            for room, names in spool_ids.items():
                for start in range(0, len(names), NAMES_PER_COMMAND_MAX):
                    pipeline.xdel(_spool(room), *names[start : start + NAMES_PER_COMMAND_MAX])
            return answers_of(pipeline)

        if any(spool_ids.values()):
            await self._calls.ask(INDEX, ask)

    async def settle(self, room: UUID, spool_ids: Sequence[str]) -> None:
        key = _spool(room)
        for start in range(0, len(spool_ids), NAMES_PER_COMMAND_MAX):
            names = spool_ids[start : start + NAMES_PER_COMMAND_MAX]
            await self._calls.command(key, "XDEL", key, *names)

    async def depth(self, room: UUID) -> int:
        key = _spool(room)
        return int(await self._calls.ask(key, lambda client: client.xlen(key)))

    async def _look_at_cluster(self, first: int, last: int) -> tuple[int, list[bytes], list[bytes]]:
        """As `look_at_spools.lua`, over the servers that have the spools; rooms whose server is away are left out."""
        names: list[bytes] = await self._calls.ask(INDEX, lambda client: client.zrange(INDEX, first, last))
        depths: dict[UUID, int] = {}
        lost: list[BrokerUnavailable] = []
        groups = await self._calls.by_server([UUID(name.decode()) for name in names], _spool)
        for group in groups:

            def ask(client: Redis, group: Sequence[UUID] = group) -> Awaitable[list[int]]:
                pipeline = client.pipeline(transaction=False)
                for room in group:
                    pipeline.xlen(_spool(room))
                return answers_of(pipeline)

            try:
                depths.update(zip(group, await self._calls.ask(_spool(group[0]), ask), strict=True))
            except BrokerUnavailable as error:
                lost.append(error)
        if lost and len(lost) == len(groups):
            raise lost[0]
        waiting = [str(room).encode() for room, depth in depths.items() if depth]
        return len(names), waiting, [str(room).encode() for room, depth in depths.items() if not depth]

    async def _drop(self, empty: Sequence[bytes]) -> None:
        """Forget rooms that nobody has noted lately: from the index first, so that a new note finds its place."""
        if not empty:
            return
        dropped = await self._calls.run(self._drop_rooms, [INDEX], [_HOLDS_MS, *empty])
        for name in dropped:
            await self._calls.run(self._drop_empty, [_spool(UUID(name.decode()))], [])


def _messages(found: "Sequence[tuple[bytes, Mapping[bytes, bytes]]]") -> list[SpooledMessage]:
    return [
        SpooledMessage(name.decode(), int(fields[b"o"]), fields[b"e"].decode(), fields[b"b"]) for name, fields in found
    ]


def _spool(room: UUID) -> str:
    return room_key(room, "spool")
