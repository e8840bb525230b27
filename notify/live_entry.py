"""Lets a person in on the live lane, by whichever form: first they are heard of, then what they missed is looked up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import structlog

from notify import metrics, store
from notify.activity import Activity
from notify.live_client import Following, LiveClient
from notify.live_forms import Form, LiveNotice
from notify.live_registry import LiveRegistry
from notify.notices import id_before, least_notice_id
from notify.settings import NotifySettings
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

TOLD_BEFORE_SECONDS = 600
"""Notices of so long before the Last-Event-ID count as told, should the bus repeat one of them."""


class LiveEntry:
    """Where connections of every form come in."""

    def __init__(self, pool: Pool, registry: LiveRegistry, settings: NotifySettings) -> None:
        self._pool = pool
        self._registry = registry
        self._settings = settings
        self._activity = Activity(pool)

    @asynccontextmanager
    async def let_in(self, user_id: UUID, last_event_id: UUID | None, form: Form) -> AsyncIterator[LiveClient]:
        """A client that is told from now on, and what it missed; it waits until its outlet is opened.

        Raises TooManyConnections, LiveConnectionsFull.
        """
        client = LiveClient(
            user_id,
            floor=last_event_id or least_notice_id(datetime.now(UTC)),
            queue_notices_max=self._settings.notify_live_queue_notices_max,
            form=form,
        )
        self._registry.admit(client)
        seconds_max = self._settings.notify_live_connection_seconds_max
        age = asyncio.get_running_loop().call_later(seconds_max, client.cut, "age")
        try:
            await self._prepare(client, last_event_id)
            yield client
        finally:
            age.cancel()
            self._registry.dismiss(client)
            client.cut("gone")  # a no-op for those that were cut; ends the wait of whoever catches clients up
            metrics.live_cut.labels(client.cut_reason).inc()
            log.debug("live_connection_ended", user_id=str(user_id), reason=client.cut_reason)

    async def _prepare(self, client: LiveClient, last_event_id: UUID | None) -> None:
        """Let the client hear first, then look up what it missed, so that nothing falls in between."""
        await self._activity.note_person(client.user_id)  # who only ever listens is not away either
        limit = self._settings.notify_follows_per_user_max
        follows = await store.find_follows_of(self._pool, [client.user_id], follows_max=limit)
        self._registry.listen(
            client, {follow.channel_id: Following(follow.followed_at, follow.wants) for follow in follows}
        )
        if last_event_id is None:
            client.release([])
            return
        # whatever was published before has been admitted before that, so it is found: in the inbox, or as running
        client.release(await self._missed(client, last_event_id))

    async def _missed(self, client: LiveClient, last_event_id: UUID) -> Sequence[LiveNotice]:
        limit = self._settings.notify_live_replay_notices_max
        horizon = id_before(last_event_id, seconds=TOLD_BEFORE_SECONDS)
        found = await store.find_missed_notices(self._pool, [client.user_id], after=horizon, items_max=limit + 1)
        notices = found.get(client.user_id, ())
        client.remember(notice.notification_id for notice in notices if notice.notification_id <= last_event_id)
        client.remember([last_event_id])
        missed = [LiveNotice(notice) for notice in notices if notice.notification_id > last_event_id]
        if len(missed) > limit:
            client.put(client.form.gap(limit))
        return missed[-limit:]
