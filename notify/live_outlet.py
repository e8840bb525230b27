"""Where a live client's bytes go: to the transport at once while it keeps up, else by a task that waits for it.

Bytes from here and aiohttp's own never mix: it writes a chunk, a heartbeat or a control frame whole and in one go, as
this does, and the head of an answer is out before the outlet is opened.
"""

import asyncio
import socket
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from notify import metrics
from notify.live_client import LiveClient

BACKLOG_BYTES_MAX = 16_384
"""Unsent bytes beyond which a client's notices wait in its queue, which has a bound, instead of in the transport."""

SEND_BUFFER_BYTES = 65_536
"""What the kernel holds for a client that does not read; the default grows to megabytes for each."""


class TransportOutlet:
    """An Outlet on an asyncio transport."""

    def __init__(
        self,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        *,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._is_over = is_over

    def take(self, frames: bytes) -> bool:
        """Write now; False: the client is behind, or gone."""
        transport = self._transport
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX or transport.is_closing() or self._is_over():
            return False
        transport.write(frames)
        return True

    async def write(self, frames: bytes) -> None:
        """Write, and wait until the transport has room again. Raises ConnectionResetError."""
        if self._transport.is_closing() or self._is_over():
            raise ConnectionResetError("the client is gone")
        self._transport.write(frames)
        await self._writer.drain()


async def pump(client: LiveClient, outlet: TransportOutlet, *, send_seconds_max: float) -> None:
    """Write what waits for a client until it is cut; cut it when it takes nothing for too long."""
    try:
        while (frames := await client.next_frames()) is not None:
            metrics.live_queued.inc()
            async with asyncio.timeout(send_seconds_max):
                await outlet.write(frames)
    except TimeoutError:
        client.cut("slow")
    except ConnectionResetError:
        client.cut("gone")


def abort_if_slow(request: web.Request, reason: str) -> None:
    """End the connection of a client that does not read; it could not be told why."""
    if reason == "slow" and request.transport is not None:
        request.transport.abort()


def bound_send_buffer(transport: asyncio.Transport) -> None:
    """Bound what the kernel holds for a client."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
