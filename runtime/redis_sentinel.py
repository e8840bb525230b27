"""Finding the master by its Sentinels, every time a connection is made, and not believing who is none.

A Sentinel that was cut off may name the master of before, so several are asked and the newest configuration counts.
Whoever answers is asked for its role as well: a master that comes back is a replica soon, and takes nothing until then
that would survive. A connection that was made to a master of before is left at its next command: one that was in use
while the others were closed would else go on reading there what was true once.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from runtime.redis_address import Server

ANSWER_SECONDS_MAX = 1.0
CONFIRMED_SECONDS_MAX = 30.0
"""A configuration that no Sentinel has named for so long is none any more: they were set up anew, and count from 0."""


@dataclass(frozen=True, slots=True)
class Mastery:
    """Who is the master, by a configuration of the Sentinels; newer ones have larger epochs."""

    config_epoch: int
    settled: bool
    """False of a Sentinel that leads a failover: it has the new epoch already, and names the old master for a while."""
    server: Server

    @property
    def age(self) -> tuple[int, bool]:
        """Larger for what is newer."""
        return self.config_epoch, self.settled


class Sentinels:
    """The Sentinels of one service."""

    def __init__(self, service: str, clients: Sequence[Redis]) -> None:
        self._service = service
        self._clients = clients
        self._newest: Mastery | None = None
        self._newest_at = 0.0

    async def master(self) -> Server:
        """Who the master is by the newest configuration; raises redis' ConnectionError when nobody knows or it is down.

        Answers when more than half of the Sentinels have, or after `ANSWER_SECONDS_MAX` with what there is.
        """
        asked = [asyncio.create_task(self._ask(client), name="sentinel-ask") for client in self._clients]
        answers: list[dict[bytes, bytes]] = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                for answered in asyncio.as_completed(asked):
                    if answer := await answered:
                        answers.append(answer)
                    if len(answers) > len(asked) / 2:
                        break
        except TimeoutError:
            pass  # as many as there are
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return self._newest_of(_newest(self._service, answers), asyncio.get_running_loop().time())

    def _newest_of(self, found: Mastery, now: float) -> Server:
        """The newer of what is found and what is known: those who answered may be the ones who have not heard yet."""
        known = self._newest
        if known is None or found.age >= known.age or now - self._newest_at > CONFIRMED_SECONDS_MAX:
            self._newest, self._newest_at = found, now
            return found.server
        return known.server

    def deposed(self, server: Server) -> bool:
        """Whether another one is known to be the master."""
        return self._newest is not None and self._newest.server != server

    async def _ask(self, client: Redis) -> dict[bytes, bytes] | None:
        try:
            flat: list[bytes] = await client.execute_command("SENTINEL", "MASTER", self._service)  # type: ignore[no-untyped-call]  # redis-py: *args untyped
        except (RedisError, OSError):
            return None
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        await asyncio.gather(*(client.aclose() for client in self._clients), return_exceptions=True)


def _newest(service: str, answers: Iterable[dict[bytes, bytes]]) -> Mastery:
    ordered = sorted(answers, key=lambda answer: _mastery(answer).age)
    if not ordered:
        raise RedisConnectionError(f"no Sentinel knows the master of {service}")
    newest = ordered[-1]
    if b"o_down" in newest[b"flags"]:
        raise RedisConnectionError(f"the master of {service} is down, and none is promoted yet")
    return _mastery(newest)


def _mastery(answer: dict[bytes, bytes]) -> Mastery:
    settled = b"failover_in_progress" not in answer[b"flags"]
    return Mastery(int(answer[b"config-epoch"]), settled, (answer[b"ip"].decode(), int(answer[b"port"])))


class SentinelRedis(Redis):
    """A client of the master, and who knows which that is."""

    def __init__(self, sentinels: Sentinels, pool: BlockingConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.sentinels = sentinels

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close this client and the connections to the Sentinels."""
        await super().aclose(close_connection_pool)
        await self.sentinels.aclose()


class MasterConnection(Connection):
    """A connection to whoever is the master when it is made."""

    def __init__(self, *, sentinels: Sentinels, **arguments: Any) -> None:  # noqa: ANN401  redis-py's own arguments
        super().__init__(**arguments)
        self._sentinels = sentinels

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.master()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py: no annotations

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send a command, to the master of now. Without ``check_health`` (of handshakes, subscriptions) just there."""
        if check_health and self.is_connected and self._sentinels.deposed((self.host, self.port)):
            await self.disconnect(nowait=True)
        await super().send_packed_command(command, check_health=check_health)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and ask for the role."""
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command("ROLE", check_health=False)
        role = await self.read_response()
        if role[0] != b"master":
            raise RedisConnectionError(f"{self.host}:{self.port} is no master")


class MasterSSLConnection(MasterConnection, SSLConnection):
    """The same with TLS."""
