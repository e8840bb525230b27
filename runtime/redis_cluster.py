"""Which server of a Redis Cluster has which slot, and a client for each of them.

The map is asked from all known servers at once, and the one of the newest epoch counts: a server that was cut off has
an old one. Whoever is sent elsewhere by a server says so, and looks again.
"""

import asyncio
import bisect
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from runtime.redis_address import Server

ANSWER_SECONDS_MAX = 1.0
LOOK_AGAIN_SECONDS_MIN = 0.1


@dataclass(frozen=True, slots=True)
class _Map:
    """Slot ranges in order: where each ends, and who has it."""

    epoch: int
    ends: tuple[int, ...]
    owners: tuple[Server, ...]


class ClusterNodes:
    """The servers that have slots. ``new_client`` makes a client for one server; they are closed by `aclose`."""

    def __init__(self, seeds: Sequence[Server], new_client: Callable[[Server], Redis]) -> None:
        self._seeds = tuple(seeds)
        self._new_client = new_client
        self._clients: dict[Server, Redis] = {}
        self._map = _Map(-1, (), ())
        self._looking = asyncio.Lock()
        self._looked_at = 0.0

    def owner(self, key: str) -> Server:
        """Who has a key (or a channel); raises redis' ConnectionError while nobody is known to."""
        place = bisect.bisect_left(self._map.ends, key_slot(key.encode()))
        if place == len(self._map.ends):
            raise RedisConnectionError("no server of the cluster is known to have this slot")
        return self._map.owners[place]

    def owners(self) -> Sequence[Server]:
        """All that have slots."""
        return list(dict.fromkeys(self._map.owners))

    def client(self, server: Server) -> Redis:
        """The client of one server."""
        client = self._clients.get(server)
        if client is None:
            client = self._clients[server] = self._new_client(server)
        return client

    def known(self) -> list[Server]:
        """Whom to ask, in random order."""
        servers = list(dict.fromkeys((*self._map.owners, *self._seeds)))
        random.shuffle(servers)
        return servers

    async def look(self) -> None:
        """Ask for the map; raises redis' ConnectionError if nobody has one. Who comes while one is asked shares it."""
        since = asyncio.get_running_loop().time()
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._looked_at > since or now - self._looked_at < LOOK_AGAIN_SECONDS_MIN:
                return
            asked = (self._ask(server) for server in self.known())
            maps = [found for found in await asyncio.gather(*asked) if found is not None]
            if not maps:
                raise RedisConnectionError("no server of the cluster answers")
            self._map = max(maps, key=lambda found: found.epoch)
            self._looked_at = asyncio.get_running_loop().time()

    async def _ask(self, server: Server) -> _Map | None:
        client = self.client(server)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                said: bytes = await client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # redis-py: *args untyped
                slots: list[Any] = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]  # redis-py: *args untyped
        except (RedisError, OSError):
            return None
        epoch = re.search(rb"cluster_current_epoch:(\d+)", said)
        ranges = sorted((int(last), _server(node, server)) for _, last, node, *_ in slots)
        return _Map(int(epoch[1]) if epoch else 0, tuple(r[0] for r in ranges), tuple(r[1] for r in ranges))

    async def aclose(self) -> None:
        """Close every client."""
        await asyncio.gather(*(client.aclose() for client in self._clients.values()), return_exceptions=True)


def _server(node: Sequence[Any], asked: Server) -> Server:
    """A server as a map names it; one that does not know its own address is the one that was asked."""
    host = node[0].decode() if node[0] else ""
    return (host or asked[0], int(node[1]))


class ClusterRedis(Redis):
    """A client of any server, for what a cluster does at all of them alike (PUBLISH, SUBSCRIBE), and the map."""

    def __init__(self, nodes: ClusterNodes, pool: BlockingConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.nodes = nodes

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close this client and those of the servers."""
        await super().aclose(close_connection_pool)
        await self.nodes.aclose()


def cluster_client(nodes: ClusterNodes, new_pool: Callable[..., BlockingConnectionPool], *, tls: bool) -> ClusterRedis:
    """The client on a pool whose connections go to whoever answers."""
    kind = AnyNodeSSLConnection if tls else AnyNodeConnection
    return ClusterRedis(nodes, new_pool(connection_class=kind, nodes=nodes))


class AnyNodeConnection(Connection):
    """A connection to the first server that takes one."""

    def __init__(self, *, nodes: ClusterNodes, **arguments: Any) -> None:  # noqa: ANN401  redis-py's own arguments
        super().__init__(**arguments)
        self._nodes = nodes

    async def _connect(self) -> None:
        lost: list[OSError] = []
        for server in self._nodes.known():
            self.host, self.port = server
            try:
                await super()._connect()  # type: ignore[no-untyped-call]  # redis-py: no annotations
            except OSError as error:
                lost.append(error)
            else:
                return
        raise RedisConnectionError(f"no server of the cluster takes a connection: {_reasons(lost)}")


class AnyNodeSSLConnection(AnyNodeConnection, SSLConnection):
    """The same with TLS."""


def _reasons(errors: Iterable[OSError]) -> str:
    return "; ".join(str(error) or type(error).__name__ for error in errors)
