"""The broker on Redis 5 to 7: a capped stream and a position per room, one script to append and publish.

All keys of a room share a hash tag and every script touches one room, so a cluster works; PSUBSCRIBE is never used,
since it costs every publish.
"""

import asyncio
import secrets
from collections.abc import Sequence
from importlib import resources
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from chat.broker import Allowance, Entry, Listener, Position, Published, Reading, Retention
from chat.broker_redis_link import RedisLink
from chat.errors import BrokerUnavailable, SentTooOften
from runtime.cancellation import raise_if_cancelled
from runtime.unavailable import UNAVAILABLE

COMMAND_SECONDS_MAX = 3.0
EPOCH_BYTES = 8

_AWAY: tuple[type[Exception], ...] = (*UNAVAILABLE, ReadOnlyError, OutOfMemoryError)


class RedisBroker:
    """A gateway's side of the rooms in Redis. A service: `run` keeps the subscriptions alive."""

    name = "chat-broker"

    def __init__(self, redis: Redis, retention: Retention | None = None, *, silence_seconds: float = 5.0) -> None:
        self._retention = retention or Retention()
        self._link = RedisLink(redis.connection_pool, silence_seconds=silence_seconds)
        self._redis = redis
        self._append = redis.register_script(_script("current_position", "append_and_publish"))
        self._read = redis.register_script(_script("current_position", "read_since"))
        self._count = redis.register_script(_script("count_members"))

    async def run(self) -> None:
        """Listen until cancelled, again and again when the connection is lost."""
        await self._link.run()

    @property
    def connected(self) -> bool:
        return self._link.connected

    def check(self) -> None:
        """For Health.watch: raises BrokerUnavailable while nothing is heard."""
        if not self.connected:
            raise BrokerUnavailable("the subscription to Redis is lost")

    async def publish(self, room: UUID, message_id: str, body: bytes, allowance: Allowance) -> Published:
        keep = self._retention
        offset, epoch, fresh, wait_ms = await self._run(
            self._append,
            [_key(room, "position"), _key(room, "stream"), _key(room, f"sent:{message_id}"),
             _key(room, f"pace:{allowance.sender}")],
            [_channel(room), body, _new_epoch(), keep.entries_max, _ms(keep.entry_seconds), int(keep.position_seconds),
             int(keep.sent_id_seconds) or 1, allowance.messages_max, _ms(allowance.seconds)],
        )  # fmt: skip
        if wait_ms:
            raise SentTooOften(int(wait_ms) / 1000)
        return Published(Position(int(offset), epoch.decode()), fresh=bool(fresh))

    async def read(self, room: UUID, since: Position | None, *, entries_max: int) -> Reading:
        keep = self._retention
        offset, epoch, recovered, flat = await self._run(
            self._read,
            [_key(room, "position"), _key(room, "stream")],
            [_new_epoch(), int(keep.position_seconds), _ms(keep.entry_seconds), entries_max,
             since.offset if since else 0, since.epoch if since else ""],
        )  # fmt: skip
        entries = tuple(Entry(int(place), body) for place, body in zip(flat[::2], flat[1::2], strict=True))
        return Reading(Position(int(offset), epoch.decode()), bool(recovered), entries)

    async def signal(self, room: UUID, body: bytes) -> None:
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                await self._redis.publish(_channel(room), b"s " + body)
        except _AWAY as error:
            raise _unavailable(error) from error

    async def count_members(self, room: UUID, gateway: str, members: int, *, seconds: float) -> int:
        return int(await self._run(self._count, [_key(room, "members")], [gateway, members, _ms(seconds)]))

    def listen(self, room: UUID, listener: Listener) -> None:
        self._link.listen(_channel(room).encode(), listener)

    def forget(self, room: UUID) -> None:
        self._link.forget(_channel(room).encode())

    async def _run(self, script: Any, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401  Lua answers anything
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                answer = await script(keys=keys, args=arguments)
            raise_if_cancelled()
            return answer
        except _AWAY as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(str(error) or type(error).__name__)


def _script(*names: str) -> str:
    files = resources.files("chat")
    return "\n".join(files.joinpath(f"{name}.lua").read_text() for name in names)


def _channel(room: UUID) -> str:
    return f"chat:{{{room}}}"


def _key(room: UUID, what: str) -> str:
    return f"chat:{{{room}}}:{what}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _new_epoch() -> str:
    return secrets.token_hex(EPOCH_BYTES)
