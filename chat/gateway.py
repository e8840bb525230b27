"""The WebSocket endpoint of chat: admits connections, serves them, and at the end asks them to go elsewhere."""

import asyncio
import random
from typing import ClassVar

import structlog
from aiohttp import web

from chat.admission import Admission
from chat.broker import Broker
from chat.closecodes import CloseCode
from chat.connection import Connection, ConnectionLimits
from chat.errors import TooManyConnections, TooManyFromAddress
from chat.member import Member
from chat.rooms import Rooms
from chat.settings import ChatSettings
from runtime.endpoints import endpoint
from runtime.problems import InvalidRequest
from runtime.tokens import Verifier
from runtime.websockets import OriginNotAllowed

log = structlog.get_logger(__name__)

FRAME_BYTES_MAX = 4_096
DRAIN_STEP_SECONDS = 0.05
GOODBYE_SECONDS = 2.0
"""How long a client has to answer a close frame."""


class Gateway:
    """`/chat`, an API whose `drain` is called when the server stops."""

    tag: ClassVar[str] = "chat"

    def __init__(
        self, settings: ChatSettings, admission: Admission, rooms: Rooms, broker: Broker, verifier: Verifier
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._rooms = rooms
        self._broker = broker
        self._verifier = verifier
        self._limits = ConnectionLimits(
            messages_per_minute=settings.chat_messages_per_minute,
            join_timeout_seconds=settings.chat_join_timeout_seconds,
        )
        self._connections: set[Connection] = set()
        self._draining = False

    @endpoint(
        "GET", "/chat", raw=True, problems=(InvalidRequest, OriginNotAllowed, TooManyFromAddress, TooManyConnections)
    )
    async def chat(self, request: web.Request) -> web.StreamResponse:
        """The chat socket (WebSocket, RFC 6455); its frames are in docs/chat-protocol.md."""
        if self._draining:
            raise TooManyConnections("this gateway is going away", retry_after_seconds=1)
        with self._admission.admit(request):
            ws = web.WebSocketResponse(
                heartbeat=self._settings.chat_ping_seconds,
                compress=False,  # 22 to 114 KB more a connection, and a frame could not be shared
                max_msg_size=FRAME_BYTES_MAX,
                timeout=GOODBYE_SECONDS,
            )
            await ws.prepare(request)
            transport = request.transport
            if transport is None:
                return ws  # left between the request and the upgrade
            connection = self._connection(ws, transport)
            self._connections.add(connection)
            try:
                await connection.serve()
            finally:
                self._connections.discard(connection)
                await ws.close(drain=False)
        return ws

    def _connection(self, ws: web.WebSocketResponse, transport: asyncio.Transport) -> Connection:
        member = Member(ws, transport, backlog_bytes_max=self._settings.chat_backlog_bytes_max)
        member.limit_send_buffer(self._settings.chat_send_buffer_bytes)
        return Connection(
            ws, member, rooms=self._rooms, broker=self._broker, verifier=self._verifier, limits=self._limits
        )

    async def drain(self) -> None:
        """Ask every client to reconnect, spread so that the other gateways are not stormed."""
        self._draining = True
        leaving = list(self._connections)
        random.shuffle(leaving)
        seconds = min(self._settings.chat_drain_seconds, self._settings.stop_grace_seconds / 2)
        log.info("chat_draining", connections=len(leaving), seconds=seconds)
        if not leaving:
            return
        steps = max(1, int(seconds / DRAIN_STEP_SECONDS))
        for step in range(steps):
            for connection in leaving[step::steps]:
                connection.end(CloseCode.DRAINING)
            await asyncio.sleep(DRAIN_STEP_SECONDS)
