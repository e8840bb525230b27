"""Removes what Redis keeps of one room."""

from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from chat.brokers.redis_calls import RedisCalls, room_key
from chat.brokers.spool_redis import INDEX

ROOM_KEYS: Final = ("stream", "spool", "position", "members", "people", "people-by-name", "people-roles")
"""Those that say who is or was here; marks of messages and of paces end by themselves within minutes."""


class RoomKeys:
    """The keys of rooms."""

    def __init__(self, redis: Redis) -> None:
        self._calls = RedisCalls(redis)

    async def drop(self, room: UUID) -> None:
        """Remove them; raises BrokerUnavailable."""
        for what in ROOM_KEYS:
            key = room_key(room, what)
            await self._calls.command(key, "DEL", key)
        await self._calls.command(INDEX, "ZREM", INDEX, str(room))
