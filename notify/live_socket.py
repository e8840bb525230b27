"""The live lane as a WebSocket: the hello says whose it is, then notices go out until either side ends it.

The conversation's own task does every closing: aiohttp answers a close from another task by dropping the transport,
before the client could answer.
"""

import asyncio
import socket
import struct
from typing import Final

import structlog
from aiohttp import WSMessage, WSMsgType, web

from notify.errors import LiveConnectionsFull, TooManyConnections
from notify.live_client import LiveClient
from notify.live_entry import LiveEntry
from notify.live_forms import Socket
from notify.live_frames import FRAME_BYTES_MAX, BadFrame, CloseCode, Hello, Ready, read_hello
from notify.live_outlet import TransportOutlet, bound_send_buffer, pump
from notify.settings import NotifySettings
from runtime.tokens import InvalidToken, KeysUnavailable, Verifier
from runtime.unavailable import PERHAPS_AWAY, is_unavailable
from runtime.websockets import AllowedOrigins, OriginNotAllowed

log = structlog.get_logger(__name__)

GOODBYE_SECONDS: Final = 2.0
"""How long a client has to answer a close frame."""
RETRY_AFTER_SECONDS: Final = 5
CODES: Final = {"stopping": CloseCode.DRAINING, "slow": CloseCode.TOO_SLOW, "age": CloseCode.OLD}
"""Of the reasons for which clients are cut; one that is gone is told nothing."""
AWAY: Final[tuple[type[Exception], ...]] = (*PERHAPS_AWAY, KeysUnavailable)
_LINGER_RESET = struct.pack("ii", 1, 0)  # close sends RST at once and drops what the kernel still holds


class Goodbye(Exception):
    """The conversation ends; `code` tells the client why."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code.reason)
        self.code = code


class LiveSockets:
    """Serves sockets."""

    def __init__(self, entry: LiveEntry, verifier: Verifier, settings: NotifySettings) -> None:
        self._entry = entry
        self._verifier = verifier
        self._settings = settings
        self._origins = AllowedOrigins(settings.public_url, settings.notify_live_origins)
        self._nameless: set[asyncio.Timeout] = set()
        self._draining = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Keep the connection until it ends. Raises OriginNotAllowed, LiveConnectionsFull."""
        if not self._origins.allow(request.headers.get("Origin")):
            raise OriginNotAllowed("pages of this origin may not connect")
        if self._draining or len(self._nameless) >= self._settings.notify_live_nameless_max:
            raise LiveConnectionsFull("come back a little later", retry_after_seconds=RETRY_AFTER_SECONDS)
        ws = web.WebSocketResponse(
            heartbeat=self._settings.notify_live_heartbeat_seconds,
            compress=False,  # a frame could not be shared
            max_msg_size=FRAME_BYTES_MAX,
            timeout=GOODBYE_SECONDS,
        )
        writer = await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws  # left between the request and the upgrade
        bound_send_buffer(transport)
        outlet = TransportOutlet(transport, writer, is_over=lambda: ws.closed)
        try:
            await self._converse(ws, outlet)
        except Goodbye as goodbye:
            await _say_goodbye(ws, transport, goodbye.code)
        return ws

    def drain(self) -> None:
        """Let nobody in any more, and end those who have not said who they are."""
        self._draining = True
        for waiting in list(self._nameless):
            waiting.reschedule(asyncio.get_running_loop().time())

    async def _converse(self, ws: web.WebSocketResponse, outlet: TransportOutlet) -> None:
        """Everything up to the close. Raises Goodbye unless the client has left."""
        hello = await self._hello(ws)
        if hello is None:
            return
        try:
            caller = await self._verifier.verify(hello.token)
            async with self._entry.let_in(caller.user_id, hello.last_event_id, Socket()) as client:
                await ws.send_str(Ready().model_dump_json())
                client.open(outlet)
                await self._tell(ws, client, outlet)
        except ConnectionResetError:
            return
        except InvalidToken as error:
            raise Goodbye(CloseCode.NOT_AUTHENTICATED) from error
        except (TooManyConnections, LiveConnectionsFull) as error:
            raise Goodbye(CloseCode.FULL) from error
        except AWAY as error:
            if not isinstance(error, KeysUnavailable) and not is_unavailable(error):
                raise
            log.warning("live_socket_not_let_in", reason=str(error) or type(error).__name__)
            raise Goodbye(CloseCode.UNAVAILABLE) from error

    async def _hello(self, ws: web.WebSocketResponse) -> Hello | None:
        """The client's hello; None: it left. Raises Goodbye."""
        waiting = asyncio.timeout(self._settings.notify_live_hello_seconds_max)
        try:
            async with waiting:
                self._nameless.add(waiting)
                received = await ws.receive()
            if received.type is WSMsgType.TEXT:
                return read_hello(str(received.data))
        except TimeoutError as error:
            raise Goodbye(CloseCode.DRAINING if self._draining else CloseCode.HELLO_TIMEOUT) from error
        except BadFrame as error:
            raise Goodbye(CloseCode.BAD_FRAME) from error
        finally:
            self._nameless.discard(waiting)
        if received.type is WSMsgType.BINARY:
            raise Goodbye(CloseCode.BAD_FRAME)
        return None

    async def _tell(self, ws: web.WebSocketResponse, client: LiveClient, outlet: TransportOutlet) -> None:
        """Tell notices until the client leaves. Raises Goodbye when it is cut, or says something more."""
        seconds_max = self._settings.notify_live_send_seconds_max
        pumping = asyncio.create_task(pump(client, outlet, send_seconds_max=seconds_max))
        try:
            received = await _receive_until_cut(ws, client)
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])
        if not pumping.cancelled():
            pumping.result()
        if received is not None and received.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            raise Goodbye(CloseCode.BAD_FRAME)
        if client.cut_reason in CODES:
            raise Goodbye(CODES[client.cut_reason])


async def _receive_until_cut(ws: web.WebSocketResponse, client: LiveClient) -> WSMessage | None:
    """What the client says or that it leaves; None: it was cut."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as waiting:
            client.on_cut = lambda _reason: waiting.reschedule(loop.time())
            return None if client.cut_reason is not None else await ws.receive()
    except TimeoutError:
        return None
    finally:
        client.on_cut = lambda _reason: None


async def _say_goodbye(ws: web.WebSocketResponse, transport: asyncio.Transport, code: CloseCode) -> None:
    """Tell the client why, give it a little time to answer, and be gone either way."""
    connection = transport.get_extra_info("socket")
    if code is CloseCode.TOO_SLOW and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    await ws.close(code=code, message=code.reason.encode(), drain=False)
    transport.abort()
