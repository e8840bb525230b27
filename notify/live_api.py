"""The live lane over HTTP: one's notices as they happen."""

from aiohttp import web

from notify.errors import InvalidLastEventId, LiveConnectionsFull, TooManyConnections
from notify.live_registry import LiveRegistry
from notify.live_socket import LiveSockets
from notify.live_stream import LiveStreams
from runtime.endpoints import endpoint
from runtime.problems import InvalidRequest
from runtime.tokens import Caller
from runtime.websockets import OriginNotAllowed


class LiveApi:
    """The live lane."""

    tag = "notifications"

    def __init__(self, registry: LiveRegistry, streams: LiveStreams, sockets: LiveSockets) -> None:
        self._registry = registry
        self._streams = streams
        self._sockets = sockets

    @endpoint(
        "GET",
        "/api/notifications/live",
        problems=(InvalidLastEventId, TooManyConnections, LiveConnectionsFull),
        raw=True,
        limit=None,
    )
    async def live(self, caller: Caller, request: web.Request) -> web.StreamResponse:
        """Your notices as they happen, as server-sent events.

        Each event `notice` has the notice's id and, as data, the same JSON as the inbox. Coming back with
        `Last-Event-ID` replays what was missed; the event `gap` says that more was missed than is replayed: the rest
        is in the inbox. Connect first and read the inbox then: so nothing falls in between.
        """
        return await self._streams.serve(caller, request)

    @endpoint(
        "GET",
        "/api/notifications/socket",
        problems=(InvalidRequest, OriginNotAllowed, LiveConnectionsFull),
        raw=True,
        limit=None,
    )
    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The same as a WebSocket (RFC 6455), whose first frame has the access token; see docs/live-socket.md."""
        return await self._sockets.serve(request)

    async def drain(self) -> None:
        """End the live connections; their clients come back to another process."""
        self._sockets.drain()
        self._registry.close("stopping")
