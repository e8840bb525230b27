"""How chat asks Redis: scripts and commands with a bound on the wait, and one error for every way of being away."""

import asyncio
from collections.abc import Awaitable, Sequence
from importlib import resources
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from chat.errors import BrokerUnavailable
from runtime.cancellation import raise_if_cancelled
from runtime.unavailable import UNAVAILABLE

COMMAND_SECONDS_MAX = 3.0

_AWAY: tuple[type[Exception], ...] = (*UNAVAILABLE, ReadOnlyError, OutOfMemoryError)
# Answers of a server that is there and takes no writes now: its disk fails, its replicas are gone, a script is stuck.
_REFUSALS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY")


class RedisCalls:
    """Asks one Redis. Everything that waits raises BrokerUnavailable when no answer comes in time."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def script(self, *names: str) -> Any:  # noqa: ANN401  redis-py's script objects have no public type
        """The scripts of these names, one after the other, as one."""
        files = resources.files("chat")
        return self.redis.register_script("\n".join(files.joinpath(f"{name}.lua").read_text() for name in names))

    async def run(self, script: Any, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401  Lua answers anything
        """Run a script of `script`."""
        return await self.wait(script(keys=keys, args=arguments))

    async def wait(self, call: Awaitable[Any]) -> Any:  # noqa: ANN401  as redis-py has it
        """Wait for the client's answer."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                answer = await call
            raise_if_cancelled()
            return answer
        except _AWAY as error:
            raise BrokerUnavailable(str(error) or type(error).__name__) from error
        except ResponseError as error:
            if str(error).startswith(_REFUSALS):
                raise BrokerUnavailable(str(error)) from error
            raise


def room_channel(room: UUID) -> str:
    """Where a room's traffic is published."""
    return f"chat:{{{room}}}"


def room_key(room: UUID, what: str) -> str:
    """A key of a room; all of one room are in one slot of a cluster."""
    return f"chat:{{{room}}}:{what}"


def milliseconds(seconds: float) -> int:
    """As Redis counts."""
    return int(seconds * 1000)
