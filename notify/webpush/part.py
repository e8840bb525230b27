"""Puts Web Push together."""

from datetime import timedelta

import structlog

from notify.deliveries.delivery import Channel, Lane
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound
from notify.parts import NotifyParts
from notify.settings import NotifySettings
from notify.webpush.api import WebPushApi
from notify.webpush.channel import PushLimits, WebPushChannel, WebPushOffChannel
from notify.webpush.settings import WebPushSettings
from notify.webpush.subscriptions import PushSubscriptions
from notify.webpush.vapid import Vapid
from runtime.assembly import Assembly

log = structlog.get_logger(__name__)


def assemble_webpush(parts: NotifyParts) -> Assembly:
    """Subscriptions, and the worker that sends. Without a key that worker drops what is queued."""
    settings = parts.settings
    outbound = Outbound(settings)
    vapid = vapid_of(settings)
    channel: Channel = WebPushOffChannel()
    if vapid is not None:
        channel = WebPushChannel(parts.pool, outbound, vapid, limits_of(settings))
    subscriptions = PushSubscriptions(parts.pool, per_user_max=settings.notify_push_subscriptions_per_user_max)
    worker = DeliveryWorker(parts.pool, channel, Lane.BULK, settings)
    parts.doorbell.wakes(worker.wake)
    return Assembly(apis=[WebPushApi(subscriptions, vapid, outbound)], services=[outbound, worker])


def vapid_of(settings: NotifySettings) -> Vapid | None:
    """The signer; None: Web Push is off, which is said."""
    key = settings.vapid_key()
    if key is None:
        log.info("web_push_off", because="notify_vapid_private_key is not set")
        return None
    own = settings.public_url if settings.public_url.startswith("https://") else None
    return Vapid(key, settings.notify_vapid_subject or own)


def limits_of(settings: WebPushSettings) -> PushLimits:
    """What the settings say of sending."""
    return PushLimits(
        ttl=timedelta(seconds=settings.notify_push_ttl_seconds),
        send_seconds_max=settings.notify_push_send_seconds_max,
        retry_after_default=timedelta(seconds=settings.notify_push_retry_after_seconds),
    )
