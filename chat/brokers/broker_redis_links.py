"""The subscriptions of one gateway to a cluster: a watched link to every server that has slots.

Each room is heard at the server that has its slot. Which one that is, is asked again every few seconds, and at once
when a server gives a room away, refuses one, or is lost.
"""

import asyncio

import structlog
from redis.exceptions import RedisError

from chat.brokers.broker import Listener
from chat.brokers.broker_redis_link import RedisLink
from runtime.redis_address import Server
from runtime.redis_cluster import ClusterNodes

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.5
LOOK_AGAIN_SECONDS = 0.2


class RedisLinks:
    """The same as a `RedisLink`, over all servers of a cluster."""

    def __init__(self, nodes: ClusterNodes, *, silence_seconds: float) -> None:
        self._nodes = nodes
        self._silence_seconds = silence_seconds
        self._listeners: dict[bytes, Listener] = {}
        self._heard_at: dict[bytes, Server] = {}
        self._links: dict[Server, tuple[RedisLink, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._look_now = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether any server is heard: the rooms of the others are unavailable, and say so themselves."""
        return any(link.connected for link, _ in self._links.values())

    @property
    def whole(self) -> bool:
        """Whether every server with slots is heard."""
        return bool(self._links) and all(link.connected for link, _ in self._links.values())

    def reaches(self, channel: bytes) -> bool:
        """Whether the server of a channel is heard."""
        try:
            held = self._links.get(self._nodes.owner(channel.decode()))
        except RedisError:
            return False
        return held is not None and held[0].connected

    def listen(self, channel: bytes, listener: Listener) -> None:
        """Hear a channel from its confirmation on."""
        self._listeners[channel] = listener
        self._route(channel)

    def forget(self, channel: bytes) -> None:
        """Hear it no more."""
        self._listeners.pop(channel, None)
        server = self._heard_at.pop(channel, None)
        if server is not None and server in self._links:
            self._links[server][0].forget(channel)

    async def run(self) -> None:
        """Hold the links until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await self._look()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._look_now.wait()
                except TimeoutError:
                    continue
                self._look_now.clear()
                await asyncio.sleep(LOOK_AGAIN_SECONDS)  # a server that gives rooms away says so for each

    async def _look(self) -> None:
        try:
            await self._nodes.look()
        except RedisError as error:
            log.warning("chat_cluster_lost", reason=str(error))
            return
        for server in self._nodes.owners():
            if server not in self._links:
                self._hold(server)
        for channel in list(self._listeners):
            self._route(channel)
        for server in set(self._links) - set(self._nodes.owners()):
            self._links.pop(server)[1].cancel()

    def _hold(self, server: Server) -> None:
        if self._tasks is None:
            raise RuntimeError("the links run in a task group")
        link = RedisLink(
            self._nodes.client(server).connection_pool,
            silence_seconds=self._silence_seconds,
            sharded=True,
            moved=self._look_now.set,
        )
        self._links[server] = link, self._tasks.create_task(link.run(), name=f"chat-link-{server[0]}:{server[1]}")

    def _route(self, channel: bytes) -> None:
        """Hear a channel at the server that has its slot, and only there."""
        listener = self._listeners[channel]
        try:
            server = self._nodes.owner(channel.decode())
        except RedisError:
            return  # nobody has it now; whoever takes it over is found at the next look
        before = self._heard_at.get(channel)
        if server == before or server not in self._links:
            return
        if before is not None and before in self._links and self._links[before][0].forget(channel):
            listener.disconnected()
        self._heard_at[channel] = server
        self._links[server][0].listen(channel, listener)
