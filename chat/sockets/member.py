"""One client's connection as a room sees it: prebuilt frames go straight to the transport, within a bounded backlog."""

import asyncio
import socket
import struct
from collections.abc import Callable

from aiohttp import WSCloseCode, web

_LINGER_RESET = struct.pack("ii", 1, 0)  # close sends RST at once and drops what the kernel still holds

Socket = tuple[int, Callable[[], bool], Callable[[], int]]
"""A descriptor, and what is asked before anything is sent on it: whether the transport is closing, and how many bytes
wait in the transport.
"""


class MemberSocket(web.WebSocketResponse):
    """A WebSocket that silences its member before a close frame, after which nothing may follow.

    Every close frame comes by `close`, those with which aiohttp answers a client by itself, too. Asking each WebSocket
    whether it is closed at every flush instead took 6 % of the send loop.
    """

    member: "Member | None" = None

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close as aiohttp does, the member silenced."""
        if self.member is not None:
            self.member.silence()
        return await super().close(code=code, message=message, drain=drain)


class Member:
    """A joined client, of a WebSocket or (with ``ws`` None) of a plain connection.

    Frames bypass aiohttp's writer: without compression it writes every frame whole and at once, so whole frames from
    here and its control frames never mix.
    """

    __slots__ = ("_backlog_bytes_max", "_silent", "_transport", "on_slow", "socket")

    def __init__(self, ws: MemberSocket | None, transport: asyncio.Transport, *, backlog_bytes_max: int) -> None:
        self._transport = transport
        self._backlog_bytes_max = backlog_bytes_max
        self._silent = False
        self.on_slow: Callable[[], None] = self.abort
        """Told once when the client turned out not to read."""
        self.socket = _socket_of(transport)
        """For the send loop in C, which passes by the transport while that is idle; None: only `write` will do."""
        if ws is not None:
            ws.member = self

    def write(self, frames: bytes, /) -> None:
        """Queue whole frames; a client whose backlog is over the bound gets nothing more and is reported as slow."""
        transport = self._transport
        if self._silent or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._backlog_bytes_max:
            self.silence()
            self.on_slow()
            return
        transport.write(frames)

    def start(self, frames: bytes) -> None:
        """Queue the first frames, which may be more than the bound (a long recovery) without making the client slow."""
        self._backlog_bytes_max += len(frames)
        self.write(frames)

    @property
    def is_silenced(self) -> bool:
        """Whether nothing more is sent."""
        return self._silent

    def silence(self) -> None:
        """Send nothing more."""
        self._silent = True
        self.socket = None

    def limit_send_buffer(self, size_bytes: int) -> None:
        """Bound what the kernel holds for this client; else stalled sockets take megabytes each."""
        self._option(socket.SO_SNDBUF, size_bytes)

    def give_up_unsent(self) -> None:
        """Whenever the connection ends now, what it has not taken is dropped by a reset instead of lingering on."""
        self._option(socket.SO_LINGER, _LINGER_RESET)

    def abort(self) -> None:
        """End the connection at once, without the wait for a client that does not read."""
        self._transport.abort()

    def _option(self, option: int, value: int | bytes) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, option, value)


def _socket_of(transport: asyncio.Transport) -> Socket | None:
    connection = transport.get_extra_info("socket")
    if connection is None or transport.get_extra_info("sslcontext") is not None:
        return None  # not connected any more, or the transport encrypts
    return connection.fileno(), transport.is_closing, transport.get_write_buffer_size
