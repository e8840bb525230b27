"""The live lane as server-sent events (HTML Standard, section 9.2): one connection until either side ends it."""

import asyncio
import random
from uuid import UUID

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from notify.errors import InvalidLastEventId
from notify.live_client import LiveClient
from notify.live_entry import LiveEntry
from notify.live_forms import ChunkedEventStream, EventStream
from notify.live_outlet import TransportOutlet, abort_if_slow, bound_send_buffer, pump
from notify.settings import NotifySettings
from runtime.tokens import Caller

RECONNECT_MS = (1_000, 4_000)
"""Clients come back after a time between these, so that those of a process that stops do not come all at once."""


class LiveStreams:
    """Serves event streams."""

    def __init__(self, entry: LiveEntry, settings: NotifySettings) -> None:
        self._entry = entry
        self._settings = settings

    async def serve(self, caller: Caller, request: web.Request) -> web.StreamResponse:
        """Keep the connection until it ends. Raises InvalidLastEventId, TooManyConnections, LiveConnectionsFull."""
        form = ChunkedEventStream() if request.version >= (1, 1) else EventStream()
        async with self._entry.let_in(caller.user_id, _last_event_id(request), form) as client:
            return await self._stream(client, request)

    async def _stream(self, client: LiveClient, request: web.Request) -> web.StreamResponse:
        settings = self._settings
        response = EventSourceResponse(
            sep="\n",
            ping_interval=settings.notify_live_heartbeat_seconds,
            send_timeout=settings.notify_live_send_seconds_max,
        )
        writer = await response.prepare(request)
        if writer is None or request.transport is None:
            return response
        client.on_cut = lambda reason: abort_if_slow(request, reason)
        bound_send_buffer(request.transport)
        async with response:
            heartbeat = asyncio.create_task(_cut_when_gone(response, client))
            try:
                # through aiohttp, which sends the answer's head with it
                await response.write(f"retry: {_reconnect_ms()}\n\n".encode())
                outlet = TransportOutlet(request.transport, writer)
                client.open(outlet)
                await pump(client, outlet, send_seconds_max=settings.notify_live_send_seconds_max)
            except ConnectionResetError:
                client.cut("gone")
            finally:
                heartbeat.cancel()
        return response


async def _cut_when_gone(response: EventSourceResponse, client: LiveClient) -> None:
    """The heartbeat ends when nobody is at the other end any more."""
    await response.wait()
    client.cut("gone")


def _last_event_id(request: web.Request) -> UUID | None:
    text = request.headers.get("Last-Event-ID")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidLastEventId("send the id of the last event you got, or none") from error


def _reconnect_ms() -> int:
    return random.randint(*RECONNECT_MS)  # noqa: S311  spreads load, hides nothing
