"""How chat asks Redis: scripts and commands with a bound on the wait, and one error for every way of being away."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chat.errors import BrokerUnavailable
from runtime.cancellation import raise_if_cancelled
from runtime.redis_address import Server
from runtime.redis_cluster import ClusterNodes, ClusterRedis

log = structlog.get_logger(__name__)

COMMAND_SECONDS_MAX = 3.0
SCRIPTS_PER_PIPELINE_MAX = 100
ROUTES_MAX = 5
MOVING_SECONDS = 0.2

_LOST: tuple[type[Exception], ...] = (OSError, RedisConnectionError, RedisTimeoutError, ReadOnlyError)
_AWAY: tuple[type[Exception], ...] = (*_LOST, OutOfMemoryError)
# Answers of a server that is there and takes no writes now: its disk fails, its replicas are gone, a script is stuck.
_REFUSALS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY")
_MOVING = (MovedError, AskError, TryAgainError, ClusterDownError)
# The client loads scripts before a pipeline; a server that was restarted since, or another one, has none of them.
_FORGOT = (NoScriptError,)


class RedisCalls:
    """Asks one Redis, or whoever of a cluster has the key; BrokerUnavailable without an answer in time."""

    def __init__(self, redis: Redis) -> None:
        self.nodes = redis.nodes if isinstance(redis, ClusterRedis) else None
        self.redis = redis

    def script(self, *names: str) -> AsyncScript:
        """The scripts of these names, one after the other, as one."""
        files = resources.files("chat.brokers")
        return self.redis.register_script("\n".join(files.joinpath(f"{name}.lua").read_text() for name in names))

    async def run(self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401  Lua answers anything
        """Run a script of `script`; its keys are of one slot."""
        return await self.ask(keys[0], lambda client: script(keys=keys, args=arguments, client=client))

    async def run_in(
        self, script: AsyncScript, questions: Mapping[UUID, tuple[Sequence[str], Sequence[str | bytes | int]]]
    ) -> dict[UUID, Any]:
        """Run a script for each of some rooms, with keys of that room and arguments, in few round trips.

        Raises BrokerUnavailable when the servers of some do not answer; it has run for those of the others.
        """
        answers: dict[UUID, Any] = {}
        lost: list[BrokerUnavailable] = []
        for group in await self.by_server(list(questions), lambda room: questions[room][0][0]):
            try:
                for start in range(0, len(group), SCRIPTS_PER_PIPELINE_MAX):
                    rooms = group[start : start + SCRIPTS_PER_PIPELINE_MAX]

                    async def ask(client: Redis, rooms: Sequence[UUID] = rooms) -> list[Any]:
                        # Left in any way, it gives its connection back: not so when its scripts cannot be loaded.
                        async with client.pipeline(transaction=False) as pipeline:
                            for room in rooms:
                                keys, arguments = questions[room]
                                await script(keys=keys, args=arguments, client=pipeline)
                            return await answers_of(pipeline)

                    found = await self.ask(questions[rooms[0]][0][0], ask)
                    answers.update(zip(rooms, found, strict=True))
            except BrokerUnavailable as error:
                lost.append(error)
        if lost:
            raise lost[0]
        return answers

    async def ask(self, key: str, call: Callable[[Redis], Awaitable[Any]]) -> Any:  # noqa: ANN401  as redis-py has it
        """Call with the client of the server that has the key. A call may be made twice."""
        return await self.bounded(call(self.redis) if self.nodes is None else _routed(self.nodes, key, call))

    async def bounded(self, call: Awaitable[Any]) -> Any:  # noqa: ANN401  as redis-py has it
        """Wait for a client's answer, not for ever."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                answer = await call
            raise_if_cancelled()
            return answer
        except _AWAY as error:
            raise BrokerUnavailable(str(error) or type(error).__name__) from error
        except ResponseError as error:
            if isinstance(error, (*_MOVING, *_FORGOT)) or str(error).startswith(_REFUSALS):
                raise BrokerUnavailable(str(error)) from error
            raise

    async def command(self, key: str, *words: str | bytes) -> Any:  # noqa: ANN401  as Redis answers
        """Send one command to the server that has the key."""
        return await self.ask(key, lambda client: client.execute_command(*words))  # type: ignore[no-untyped-call]  # redis-py: *args untyped

    async def servers(self) -> dict[str, Redis]:
        """A client of every server that has keys, by a name of its own."""
        if self.nodes is None:
            return {"": self.redis}
        if not self.nodes.owners():
            await self.bounded(self.nodes.look())
        return {f"{host}:{port}": self.nodes.client((host, port)) for host, port in self.nodes.owners()}

    async def by_server(self, rooms: Sequence[UUID], key: Callable[[UUID], str]) -> list[list[UUID]]:
        """The rooms in groups whose keys one server has; raises BrokerUnavailable if the servers are not known."""
        if self.nodes is None:
            return [list(rooms)] if rooms else []
        await self.servers()
        groups: dict[Server, list[UUID]] = {}
        for room in rooms:
            try:
                groups.setdefault(self.nodes.owner(key(room)), []).append(room)
            except RedisConnectionError as error:
                raise BrokerUnavailable(str(error)) from error
        return list(groups.values())


async def _routed(nodes: ClusterNodes, key: str, call: Callable[[Redis], Awaitable[Any]]) -> Any:  # noqa: ANN401  as redis-py has it
    """Ask the owner of the key; look for another one when that has moved or is gone, and wait while the slot moves."""
    if not nodes.owners():
        await nodes.look()
    for attempt in range(ROUTES_MAX):
        owner = nodes.owner(key)
        try:
            return await call(nodes.client(owner))
        except _MOVING as error:
            await nodes.look()
            if nodes.owner(key) == owner:
                if attempt == ROUTES_MAX - 1:
                    raise
                log.info("chat_slot_moving", reason=str(error))
                await asyncio.sleep(MOVING_SECONDS)
        except _LOST:
            await nodes.look()
            if nodes.owner(key) == owner:
                raise
    raise BrokerUnavailable("the room's slot moves")


async def answers_of(pipeline: Pipeline) -> list[Any]:
    """What a pipeline is answered. Raises the first error as the server said it: refusals are known by that."""
    answers = list(await pipeline.execute(raise_on_error=False))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def room_channel(room: UUID) -> str:
    """Where a room's traffic is published."""
    return f"chat:{{{room}}}"


def room_key(room: UUID, what: str) -> str:
    """A key of a room; all of one room are in one slot of a cluster."""
    return f"chat:{{{room}}}:{what}"


def milliseconds(seconds: float) -> int:
    """As Redis counts."""
    return int(seconds * 1000)
