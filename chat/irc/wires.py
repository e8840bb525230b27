"""What carries the lines of one IRC client: a plain connection, or the text frames of a WebSocket."""

import asyncio
from contextlib import suppress
from typing import Final, Literal, Protocol

from aiohttp import WSMsgType, web

from chat.irc.encoding import Wrap, bare, framed
from chat.irc.endings import TOO_SLOW, Ending
from chat.irc.lines import LINE_BYTES_MAX, TAGS_BYTES_MAX
from chat.sockets.member import Member

PIECE_BYTES_MAX: Final = 8_192
GOODBYE_SECONDS: Final = 1.0
UNREAD_LINE_BYTES_MAX: Final = LINE_BYTES_MAX + TAGS_BYTES_MAX


class Wire(Protocol):
    """One client's connection."""

    @property
    def kind(self) -> Literal["tcp", "websocket"]:
        """What the figures call it."""
        ...

    @property
    def member(self) -> Member:
        """Where lines go."""
        ...

    @property
    def wrap(self) -> Wrap:
        """Makes what the member takes from lines."""
        ...

    async def receive(self) -> list[bytes] | None:
        """The next lines, without their ends; None when the client is gone. One that is too long may be cut."""
        ...

    async def close(self, ending: Ending | None) -> None:
        """Let go of it, after what was written; without an ending the client went by itself."""
        ...


class TcpWire:
    """A plain connection, with or without TLS."""

    kind: Final = "tcp"
    wrap: Wrap = staticmethod(bare)

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, member: Member) -> None:
        self.member = member
        self._reader = reader
        self._writer = writer
        self._unread = b""

    async def receive(self) -> list[bytes] | None:
        """See Wire."""
        try:
            piece = await self._reader.read(PIECE_BYTES_MAX)
        except OSError:
            return None
        if not piece:
            return None
        *lines, self._unread = (self._unread + piece).split(b"\n")
        # No more of it is kept than tells that it is too long.
        self._unread = self._unread[: UNREAD_LINE_BYTES_MAX + 1]
        return [one.rstrip(b"\r") for one in lines]

    async def close(self, ending: Ending | None) -> None:
        """See Wire. Nobody waits for a client that does not take the last lines: what it has not is dropped."""
        if ending is TOO_SLOW or self._writer.transport.get_write_buffer_size():
            self.member.give_up_unsent()
            self.member.abort()
            return
        if ending is not None and self._writer.can_write_eof():
            # Closed with something unread, the kernel would reset the connection, and the last line be lost.
            with suppress(OSError):
                self._writer.write_eof()
                async with asyncio.timeout(GOODBYE_SECONDS):
                    while await self._reader.read(PIECE_BYTES_MAX):
                        pass
        self._writer.close()


class SocketWire:
    """A WebSocket; a frame of the client has one line or several."""

    kind: Final = "websocket"
    wrap: Wrap = staticmethod(framed)

    def __init__(self, ws: web.WebSocketResponse, member: Member) -> None:
        self.member = member
        self._ws = ws

    async def receive(self) -> list[bytes] | None:
        """See Wire."""
        received = await self._ws.receive()
        if received.type is WSMsgType.TEXT:
            piece = str(received.data).encode()
        elif received.type is WSMsgType.BINARY:
            piece = bytes(received.data)
        else:
            return None
        return [one.rstrip(b"\r") for one in piece.split(b"\n")]

    async def close(self, ending: Ending | None) -> None:
        """See Wire."""
        if ending is None:
            return
        if ending is TOO_SLOW:
            self.member.give_up_unsent()
        await self._ws.close(code=ending.code, message=ending.reason.encode(), drain=False)
        self.member.abort()
