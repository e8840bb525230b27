"""Puts the fan-outs of a process together."""

from contextlib import AsyncExitStack
from datetime import timedelta

from eventbus.outbox import Outbox
from notify.announcer import Announcer
from notify.deliveries.doorbell import Doorbell
from notify.fanout import Fanouts
from notify.fanout_settings import FanoutSettings
from notify.fanout_store import Limits
from notify.settings import NotifySettings
from runtime.postgres import open_pool

SCHEMA = "notify"
ADMISSION_CONNECTIONS = 4
"""A handler that has a connection already waits for one of these; none of them ever waits for a handler."""


async def open_fanouts(
    stack: AsyncExitStack, settings: NotifySettings, announcer: Announcer, doorbell: Doorbell
) -> Fanouts:
    """The fan-outs of this process; ``stack`` closes what they open."""
    few = settings.model_copy(update={"postgres_connections_max": ADMISSION_CONNECTIONS})
    pool = await stack.enter_async_context(open_pool(few, schema=SCHEMA, stateless=True))
    return Fanouts(pool, announcer, limits_of(settings), queued=doorbell.ring)


async def open_page_outbox(stack: AsyncExitStack, settings: NotifySettings, outbox: Outbox) -> Outbox:
    """Where pages are told: on few connections, so that a huge fan-out does not crowd out everything else.

    More transactions at once than cores are only longer ones, and every relay of the database waits for the oldest.
    What pages say wakes the relay as what is said in `outbox` does.
    """
    few = settings.model_copy(update={"postgres_connections_max": settings.notify_pages_at_once_max})
    pages = Outbox(await stack.enter_async_context(open_pool(few, schema=SCHEMA, stateless=True)), source=SCHEMA)
    pages.said = outbox.said
    return pages


def limits_of(settings: FanoutSettings) -> Limits:
    """The limits of fan-outs as the settings say."""
    return Limits(
        page_followers=settings.notify_page_followers_max,
        window_pages=settings.notify_window_pages_max,
        cool_down=timedelta(seconds=settings.notify_cool_down_seconds),
        day_fanouts=settings.notify_fanouts_per_day_max,
        push_lasts=timedelta(seconds=settings.notify_push_queued_seconds_max),
        email_lasts=timedelta(seconds=settings.notify_email_queued_seconds_max),
    )
