"""The live lane over HTTP: one's notices as they happen."""

from aiohttp import web

from notify.errors import InvalidLastEventId, LiveConnectionsFull, TooManyConnections
from notify.live_registry import LiveRegistry
from notify.live_stream import LiveStreams
from runtime.endpoints import endpoint
from runtime.tokens import Caller


class LiveApi:
    """The live lane."""

    tag = "notifications"

    def __init__(self, registry: LiveRegistry, streams: LiveStreams) -> None:
        self._registry = registry
        self._streams = streams

    @endpoint(
        "GET",
        "/api/notifications/live",
        problems=(InvalidLastEventId, TooManyConnections, LiveConnectionsFull),
        raw=True,
    )
    async def live(self, caller: Caller, request: web.Request) -> web.StreamResponse:
        """Your notices as they happen, as server-sent events.

        Each event `notice` has the notice's id and, as data, the same JSON as the inbox. Coming back with
        `Last-Event-ID` replays what was missed; the event `gap` says that more was missed than is replayed: the rest
        is in the inbox. Connect first and read the inbox then: so nothing falls in between.
        """
        return await self._streams.serve(caller, request)

    async def drain(self) -> None:
        """End the live connections; their clients come back to another process."""
        self._registry.cut_all("stopping")
