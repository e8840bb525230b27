"""One live connection over server-sent events: what was missed, then what happens, until either side ends it."""

import asyncio
import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from notify import metrics, store
from notify.errors import InvalidLastEventId
from notify.live_client import LiveClient
from notify.live_registry import LiveRegistry
from notify.notices import LiveNotice, id_before, least_notice_id
from notify.settings import NotifySettings
from runtime.postgres import Pool
from runtime.tokens import Caller

log = structlog.get_logger(__name__)

TOLD_BEFORE_SECONDS = 600
"""Notices of so long before the Last-Event-ID count as told, should the bus repeat one of them."""
RECONNECT_MS = 2_000
SEND_BUFFER_BYTES = 65_536
"""What the kernel holds for a client that does not read; the default grows to megabytes for each."""

HELLO = f"retry: {RECONNECT_MS}\n\n".encode()


class LiveStreams:
    """Serves live connections."""

    def __init__(self, pool: Pool, registry: LiveRegistry, settings: NotifySettings) -> None:
        self._pool = pool
        self._registry = registry
        self._settings = settings

    async def serve(self, caller: Caller, request: web.Request) -> web.StreamResponse:
        """Keep the connection until it ends. Raises InvalidLastEventId, TooManyConnections, LiveConnectionsFull."""
        last_event_id = _last_event_id(request)
        client = LiveClient(
            caller.user_id,
            floor=last_event_id or least_notice_id(datetime.now(UTC)),
            queue_notices_max=self._settings.notify_live_queue_notices_max,
        )
        self._registry.admit(client)
        try:
            await self._prepare(client, last_event_id)
            return await self._stream(client, request)
        finally:
            self._registry.dismiss(client)
            client.cut("gone")  # a no-op for those that were cut; ends the wait of whoever catches clients up

    async def _prepare(self, client: LiveClient, last_event_id: UUID | None) -> None:
        """Let the client hear first, then look up what it missed, so that nothing falls in between."""
        limit = self._settings.notify_follows_per_user_max
        follows = await store.find_follows_of(self._pool, [client.user_id], follows_max=limit)
        self._registry.listen(client, [(follow.channel_id, follow.followed_at) for follow in follows])
        client.put(HELLO)
        if last_event_id is None:
            client.release([])
            return
        missed = await self._missed(client, last_event_id)
        recent = [live for live in self._registry.recent_for(client) if live.notice.notification_id > last_event_id]
        client.release([*missed, *recent])

    async def _missed(self, client: LiveClient, last_event_id: UUID) -> Sequence[LiveNotice]:
        limit = self._settings.notify_live_replay_notices_max
        horizon = id_before(last_event_id, seconds=TOLD_BEFORE_SECONDS)
        found = await store.find_missed_notices(self._pool, [client.user_id], after=horizon, items_max=limit + 1)
        notices = found.get(client.user_id, ())
        client.remember(notice.notification_id for notice in notices if notice.notification_id <= last_event_id)
        client.remember([last_event_id])
        missed = [LiveNotice(notice) for notice in notices if notice.notification_id > last_event_id]
        if len(missed) > limit:
            client.put(_gap(limit))
        return missed[-limit:]

    async def _stream(self, client: LiveClient, request: web.Request) -> web.StreamResponse:
        settings = self._settings
        response = EventSourceResponse(
            sep="\n",
            ping_interval=settings.notify_live_heartbeat_seconds,
            send_timeout=settings.notify_live_send_seconds_max,
        )
        client.on_cut = lambda reason: _abort_if_slow(request, reason)
        await response.prepare(request)
        _bound_send_buffer(request)
        age = asyncio.get_running_loop().call_later(settings.notify_live_connection_seconds_max, client.cut, "age")
        async with response:
            heartbeat = asyncio.create_task(_cut_when_gone(response, client))
            try:
                await self._pump(client, response)
            finally:
                age.cancel()
                heartbeat.cancel()
        metrics.live_cut.labels(client.cut_reason or "gone").inc()
        log.debug("live_connection_ended", user_id=str(client.user_id), reason=client.cut_reason)
        return response

    async def _pump(self, client: LiveClient, response: EventSourceResponse) -> None:
        try:
            while (frames := await client.next_frames()) is not None:
                async with asyncio.timeout(self._settings.notify_live_send_seconds_max):
                    await response.write(frames)
        except TimeoutError:
            client.cut("slow")
        except ConnectionResetError:
            client.cut("gone")


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


def _gap(replayed_max: int) -> bytes:
    """Says that more was missed than is replayed: the rest is in the inbox."""
    return f"event: gap\ndata: {json.dumps({'replayed_max': replayed_max})}\n\n".encode()


def _abort_if_slow(request: web.Request, reason: str) -> None:
    if reason == "slow" and request.transport is not None:
        request.transport.abort()


def _bound_send_buffer(request: web.Request) -> None:
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
