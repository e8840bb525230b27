"""The WebSocket endpoint of chat: admits connections, serves them, and at the end asks them to go elsewhere."""

import asyncio
import random
from typing import ClassVar

import structlog
from aiohttp import HttpVersion11, web

from chat.errors import OtherVersion, TooManyConnections, TooManyFromAddress
from chat.rooms.rooms import Rooms
from chat.settings import ChatSettings
from chat.sockets.admission import Admission
from chat.sockets.closecodes import CloseCode
from chat.sockets.connection import Connection, ConnectionLimits
from chat.sockets.frame_guard import FrameGuard, FrameScan, Pace
from chat.sockets.heartbeat import Heartbeat
from chat.sockets.member import Member, MemberSocket
from chat.speaking.speaking import Speaking
from runtime.endpoints import endpoint
from runtime.problems import InvalidRequest
from runtime.tokens import Verifier
from runtime.websockets import OriginNotAllowed

log = structlog.get_logger(__name__)

VERSION = "Sec-WebSocket-Version"
FRAME_BYTES_MAX = 4_096
DRAIN_STEP_SECONDS = 0.05
DRAIN_SHARE_OF_GRACE = 0.4
GOODBYE_SECONDS = 2.0
"""How long a client has to answer a close frame."""


class Gateway:
    """`/chat`, an API whose `drain` is called when the server stops."""

    tag: ClassVar[str] = "chat"

    def __init__(
        self, settings: ChatSettings, admission: Admission, rooms: Rooms, speaking: Speaking, verifier: Verifier
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._rooms = rooms
        self._speaking = speaking
        self._verifier = verifier
        self._limits = ConnectionLimits(
            join_timeout_seconds=settings.chat_join_timeout_seconds,
        )
        self._heartbeat = Heartbeat(settings.chat_ping_seconds)
        self._connections: set[Connection] = set()
        self._draining = False

    @endpoint(
        "GET",
        "/chat",
        raw=True,
        problems=(InvalidRequest, OriginNotAllowed, OtherVersion, TooManyFromAddress, TooManyConnections),
        limit=None,
    )
    async def chat(self, request: web.Request) -> web.StreamResponse:
        """The chat socket (WebSocket, RFC 6455); its frames are in docs/chat-protocol.md."""
        if self._draining:
            raise TooManyConnections("this gateway is going away", retry_after_seconds=1)
        if request.version < HttpVersion11:
            raise InvalidRequest("RFC 6455 section 4.1 asks for HTTP/1.1")
        if request.headers.get("Upgrade", "").lower() == "websocket" and request.headers.get(VERSION) != "13":
            raise OtherVersion
        with self._admission.admit(request):
            ws = MemberSocket(
                compress=False,  # 22 to 114 KB more a connection, and a frame could not be shared
                max_msg_size=FRAME_BYTES_MAX + 1,  # it takes what is smaller
                timeout=GOODBYE_SECONDS,
            )
            transport = request.transport
            guard = None if transport is None or not ws.can_prepare(request) else self._guard(transport)
            await ws.prepare(request)
            if transport is None or guard is None:
                return ws  # left between the request and the upgrade
            await self._serve(ws, transport, guard)
        return ws

    def _guard(self, transport: asyncio.Transport) -> FrameGuard:
        loop = asyncio.get_running_loop()
        # Whoever may send many messages sends at least as many frames.
        pace = Pace(
            max(self._settings.chat_frames_per_second_max, self._settings.chat_messages_per_minute / 30), loop.time
        )
        return FrameGuard(transport, FrameScan(FRAME_BYTES_MAX, pace))

    async def _serve(self, ws: MemberSocket, transport: asyncio.Transport, guard: FrameGuard) -> None:
        connection = self._connection(ws, transport)
        self._connections.add(connection)
        guard.tell(connection.end)
        pulse = self._heartbeat.watch(connection.member, guard)
        try:
            await connection.serve()
        finally:
            self._heartbeat.forget(pulse)
            self._connections.discard(connection)
            await ws.close(drain=False)
            # What a client has not taken by now would keep its socket open for as long as it likes, uncounted.
            if transport.get_write_buffer_size():
                transport.abort()

    def _connection(self, ws: MemberSocket, transport: asyncio.Transport) -> Connection:
        member = Member(ws, transport, backlog_bytes_max=self._settings.chat_backlog_bytes_max)
        member.limit_send_buffer(self._settings.chat_send_buffer_bytes)
        return Connection(
            ws,
            member,
            admission=self._admission,
            rooms=self._rooms,
            speaking=self._speaking,
            verifier=self._verifier,
            limits=self._limits,
        )

    async def drain(self) -> None:
        """Ask every client to reconnect, spread so that the other gateways are not stormed, and see them off.

        Once more does nothing: it is called when the process is asked to stop, and when its port has closed.
        """
        self._draining = True
        leaving = list(self._connections)
        if not leaving:
            return
        random.shuffle(leaving)
        seconds = min(self._settings.chat_drain_seconds, self._settings.stop_grace_seconds * DRAIN_SHARE_OF_GRACE)
        log.info("chat_draining", connections=len(leaving), seconds=seconds)
        steps = max(1, int(seconds / DRAIN_STEP_SECONDS))
        for step in range(steps):
            for connection in leaving[step::steps]:
                connection.end(CloseCode.DRAINING)
            await asyncio.sleep(DRAIN_STEP_SECONDS)
        for _ in range(int(GOODBYE_SECONDS / DRAIN_STEP_SECONDS)):
            if not self._connections:
                break
            await asyncio.sleep(DRAIN_STEP_SECONDS)
