"""The broker on Redis 5 to 7: a capped stream and a position per room, one script to append and publish.

All keys of a room share a hash tag and every script touches one room, so a cluster works; PSUBSCRIBE is never used,
since it costs every publish.
"""

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection

from chat.brokers.broker import Conditions, Entry, Listener, Position, Published, Reading, Retention
from chat.brokers.broker_redis_link import RedisLink
from chat.brokers.broker_redis_links import RedisLinks
from chat.brokers.redis_calls import RedisCalls, milliseconds, room_channel, room_key
from chat.brokers.spool_redis import SpoolNotes
from chat.errors import BrokerUnavailable, SentBefore, SentTooOften, SpoolFull
from runtime.redis_cluster import ClusterRedis
from runtime.redis_sentinel import SentinelRedis

EPOCH_BYTES = 8


class RedisBroker:
    """A gateway's side of the rooms in Redis. A service: `run` keeps the subscriptions alive."""

    name = "chat-broker"

    def __init__(self, redis: Redis, retention: Retention | None = None, *, silence_seconds: float = 5.0) -> None:
        self._retention = retention or Retention()
        self._calls = RedisCalls(redis)
        self._link = _link(redis, silence_seconds)
        self._listening = False
        self._publish_command = "PUBLISH" if self._calls.nodes is None else "SPUBLISH"
        self._notes = SpoolNotes(self._calls)
        self._append = self._calls.script("current_position", "append_and_publish")
        self._read = self._calls.script("current_position", "read_since")
        self._count = self._calls.script("count_members")

    async def run(self) -> None:
        """Listen until cancelled, again and again when the connection is lost."""
        self._listening = True
        await self._link.run()

    @property
    def connected(self) -> bool:
        return self._link.connected

    def check(self) -> None:
        """For Health.watch: raises BrokerUnavailable while nothing is heard."""
        if not self._link.whole:
            raise BrokerUnavailable("the subscription to Redis is lost")

    async def publish(
        self, room: UUID, message_id: str, body: bytes, conditions: Conditions, *, spooled: bool = True
    ) -> Published:
        keep = self._retention
        unique, allowances = conditions.unique, conditions.allowances
        keys = [room_key(room, what) for what in ("position", "stream", f"sent:{message_id}", "spool")]
        keys.extend(room_key(room, f"{allowance.name}:{allowance.sender}") for allowance in allowances)
        arguments: list[str | bytes | int] = [
            self._publish_command, room_channel(room), body, _new_epoch(),
            keep.entries_max, milliseconds(keep.entry_seconds), int(keep.position_seconds),
            int(keep.sent_id_seconds) or 1, keep.spooled_entries_max if spooled else 0,
            milliseconds(unique.seconds) if unique else 0,
        ]  # fmt: skip
        for allowance in allowances:
            arguments.extend((allowance.messages_max, milliseconds(allowance.seconds)))
        if unique is not None:
            keys.append(room_key(room, f"said:{unique.digest}"))
        # What nobody here could hear is refused at once: a server that is away would cost every sender its patience.
        if self._listening and not self._link.reaches(room_channel(room).encode()):
            raise BrokerUnavailable("the subscription to Redis is lost")
        if spooled:
            await self._notes.before(room)
        published = _published(await self._calls.run(self._append, keys, arguments), conditions)
        if spooled:
            await self._notes.after(room, published.position.epoch)
        return published

    async def read(self, room: UUID, since: Position | None, *, entries_max: int) -> Reading:
        keep = self._retention
        offset, epoch, recovered, flat = await self._calls.run(
            self._read,
            [room_key(room, "position"), room_key(room, "stream")],
            [_new_epoch(), int(keep.position_seconds), milliseconds(keep.entry_seconds), entries_max,
             since.offset if since else 0, since.epoch if since else ""],
        )  # fmt: skip
        entries = tuple(Entry(int(place), body) for place, body in zip(flat[::2], flat[1::2], strict=True))
        return Reading(Position(int(offset), epoch.decode()), bool(recovered), entries)

    async def signal(self, room: UUID, body: bytes) -> None:
        channel, command = room_channel(room), self._publish_command
        await self._calls.command(channel, command, channel, b"s " + body)

    async def count_members(self, gateway: str, members: Mapping[UUID, int], *, seconds: float) -> Mapping[UUID, int]:
        believed_ms = milliseconds(seconds)
        return await self._calls.run_in(
            self._count,
            {room: ([room_key(room, "members")], [gateway, number, believed_ms]) for room, number in members.items()},
        )

    def listen(self, room: UUID, listener: Listener) -> None:
        self._link.listen(room_channel(room).encode(), listener)

    def forget(self, room: UUID) -> None:
        self._link.forget(room_channel(room).encode())


def _link(redis: Redis, silence_seconds: float) -> RedisLink | RedisLinks:
    """Who hears: one server, the master that Sentinels name, or every server of a cluster."""
    if isinstance(redis, ClusterRedis):
        return RedisLinks(redis.nodes, silence_seconds=silence_seconds)
    if not isinstance(redis, SentinelRedis):
        return RedisLink(redis.connection_pool, silence_seconds=silence_seconds)
    sentinels = redis.sentinels

    async def is_master(connection: AbstractConnection) -> bool:
        return isinstance(connection, Connection) and (connection.host, connection.port) == await sentinels.master()

    return RedisLink(redis.connection_pool, silence_seconds=silence_seconds, believed=is_master)


def _published(answer: Any, conditions: Conditions) -> Published:  # noqa: ANN401  Lua answers anything
    """What the script says, as a value or an error."""
    verdict = answer[0]
    if verdict == b"too-often":
        raise SentTooOften(int(answer[1]) / 1000, conditions.allowances[int(answer[2]) - 1].name)
    if verdict == b"said-before":
        raise SentBefore("the room has had this text lately")
    if verdict == b"spool-full":
        raise SpoolFull("too many messages of this room wait to be kept")
    return Published(Position(int(answer[1]), answer[2].decode()), fresh=verdict == b"fresh")


def _new_epoch() -> str:
    return secrets.token_hex(EPOCH_BYTES)
