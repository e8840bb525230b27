"""The IRC door of a gateway: its open connections, the WebSocket endpoint, and the end of all of them."""

import asyncio
import random
from typing import ClassVar

import structlog
from aiohttp import HttpVersion11, web

from chat import metrics
from chat.errors import OtherVersion, TooManyConnections, TooManyFromAddress
from chat.irc import endings
from chat.irc.connection import IrcConnection, IrcLimits, IrcParts
from chat.irc.wires import PIECE_BYTES_MAX, SocketWire, Wire
from chat.settings import ChatSettings
from chat.sockets.frame_guard import FrameGuard, FrameScan, Pace
from chat.sockets.heartbeat import Heartbeat
from chat.sockets.member import Member, MemberSocket
from runtime.endpoints import endpoint
from runtime.problems import InvalidRequest, NotFound
from runtime.websockets import OriginNotAllowed

log = structlog.get_logger(__name__)

SUBPROTOCOL = "irc"
SOCKET_SILENT_SECONDS = 240.0
"""WebSockets have pings of their own; this one is for bots that reconnect when the server says nothing for long."""
DRAIN_STEP_SECONDS = 0.05
DRAIN_SHARE_OF_GRACE = 0.4
GOODBYE_SECONDS = 2.0


class IrcDoor:
    """`/chat/irc`, an API whose `drain` is called when the server stops; TCP connections are let in here, too."""

    tag: ClassVar[str] = "chat"

    def __init__(self, settings: ChatSettings, parts: IrcParts) -> None:
        self._settings = settings
        self._parts = parts
        self._heartbeat = Heartbeat(settings.chat_ping_seconds)
        self._connections: set[IrcConnection] = set()
        self.draining = False

    @property
    def connections(self) -> "set[IrcConnection]":
        """Those that are open now."""
        return self._connections

    @endpoint(
        "GET",
        "/chat/irc",
        raw=True,
        problems=(InvalidRequest, OriginNotAllowed, OtherVersion, TooManyFromAddress, TooManyConnections),
        limit=None,
    )
    async def irc(self, request: web.Request) -> web.StreamResponse:
        """IRC over a WebSocket, subprotocol `irc` (docs/irc.md)."""
        if self.draining:
            raise TooManyConnections("this gateway is going away", retry_after_seconds=1)
        if request.version < HttpVersion11:
            raise InvalidRequest("RFC 6455 section 4.1 asks for HTTP/1.1")
        if request.headers.get("Upgrade", "").lower() == "websocket" and (
            request.headers.get("Sec-WebSocket-Version") != "13"
        ):
            raise OtherVersion
        with self._parts.admission.admit(request):
            ws = MemberSocket(
                protocols=(SUBPROTOCOL,),
                compress=False,
                max_msg_size=PIECE_BYTES_MAX + 1,  # it takes what is smaller
                timeout=GOODBYE_SECONDS,
            )
            transport = request.transport
            guard = None if transport is None or not ws.can_prepare(request) else self._guard(transport)
            await ws.prepare(request)
            if transport is not None and guard is not None:
                await self._serve_socket(ws, transport, guard, self._parts.admission.address_of(request))
        return ws

    @endpoint(
        "GET",
        "/",
        raw=True,
        problems=(NotFound, InvalidRequest, OriginNotAllowed, OtherVersion, TooManyFromAddress, TooManyConnections),
        limit=None,
    )
    async def irc_at_root(self, request: web.Request) -> web.StreamResponse:
        """The same where clients of Twitch's chat look for it: at the root, if they ask for the subprotocol `irc`."""
        asked = request.headers.get("Sec-WebSocket-Protocol", "")
        if SUBPROTOCOL not in {part.strip() for part in asked.split(",")}:
            raise NotFound("there is nothing here but IRC over WebSocket")
        return await self.irc(request)

    async def serve(self, wire: Wire, address: str) -> None:
        """Talk with one client until the end."""
        connection = IrcConnection(wire, address, self._parts, self._limits(wire))
        await self._serve(connection, wire)

    async def drain(self) -> None:
        """Ask every client to reconnect, spread so that the other gateways are not stormed, and see them off.

        Once more does nothing: it is called when the process is asked to stop, and when its ports have closed.
        """
        self.draining = True
        leaving = list(self._connections)
        if not leaving:
            return
        random.shuffle(leaving)
        seconds = min(self._settings.chat_drain_seconds, self._settings.stop_grace_seconds * DRAIN_SHARE_OF_GRACE)
        log.info("irc_draining", connections=len(leaving), seconds=seconds)
        steps = max(1, int(seconds / DRAIN_STEP_SECONDS))
        for step in range(steps):
            for connection in leaving[step::steps]:
                connection.end(endings.DRAINING)
            await asyncio.sleep(DRAIN_STEP_SECONDS)
        for _ in range(int(GOODBYE_SECONDS / DRAIN_STEP_SECONDS)):
            if not self._connections:
                break
            await asyncio.sleep(DRAIN_STEP_SECONDS)

    def _guard(self, transport: asyncio.Transport) -> FrameGuard:
        # A frame has a line or more; pings come on top.
        pace = Pace(2 * self._settings.chat_irc_lines_per_second_max, asyncio.get_running_loop().time)
        return FrameGuard(transport, FrameScan(PIECE_BYTES_MAX, pace))

    async def _serve_socket(
        self, ws: MemberSocket, transport: asyncio.Transport, guard: FrameGuard, address: str
    ) -> None:
        member = Member(ws, transport, backlog_bytes_max=self._settings.chat_backlog_bytes_max)
        member.limit_send_buffer(self._settings.chat_send_buffer_bytes)
        wire = SocketWire(ws, member)
        connection = IrcConnection(wire, address, self._parts, self._limits(wire))
        guard.tell(lambda code: connection.end(endings.ending_of(code)))
        pulse = self._heartbeat.watch(member, guard)
        try:
            await self._serve(connection, wire)
        finally:
            self._heartbeat.forget(pulse)
            await ws.close(drain=False)
            # What a client has not taken by now would keep its socket open for as long as it likes, uncounted.
            if transport.get_write_buffer_size():
                transport.abort()

    async def _serve(self, connection: IrcConnection, wire: Wire) -> None:
        self._connections.add(connection)
        metrics.irc_connections.labels(wire.kind).inc()
        try:
            await connection.serve()
        finally:
            metrics.irc_connections.labels(wire.kind).dec()
            self._connections.discard(connection)

    def _limits(self, wire: Wire) -> IrcLimits:
        ping = self._settings.chat_ping_seconds
        return IrcLimits(
            login_timeout_seconds=self._settings.chat_join_timeout_seconds,
            silent_seconds=ping if wire.kind == "tcp" else SOCKET_SILENT_SECONDS,
            answer_seconds=ping / 2,
            lines_per_second_max=max(
                self._settings.chat_irc_lines_per_second_max, self._settings.chat_messages_per_minute / 30
            ),
        )
