"""Puts webhooks together."""

from datetime import timedelta

import structlog

from eventbus.consume import ConsumeLoop
from notify.deliveries.delivery import Lane
from notify.deliveries.settings import DeliverySettings
from notify.deliveries.worker import DeliveryWorker
from notify.outbound import Outbound
from notify.parts import NotifyParts
from notify.settings import NotifySettings
from notify.webhooks.api import WebhooksApi
from notify.webhooks.channel import WebhookChannel
from notify.webhooks.endpoints import Endpoints
from notify.webhooks.intake import WebhookIntake
from notify.webhooks.messages import MessageLog
from notify.webhooks.messages_api import WebhookMessagesApi
from notify.webhooks.sealing import Seal
from notify.webhooks.sweeper import WebhookLogSweeper
from notify.webhooks.webhooks import Webhooks
from runtime.assembly import Assembly

log = structlog.get_logger(__name__)

SEND_SHARE = 0.9
"""Of the time that the engine gives an attempt, so that the log tells what took long and not that it was cut off."""


def assemble_webhooks(parts: NotifyParts) -> Assembly:
    """The APIs; and, with a secret to seal with: the consumer group, the worker that posts, the sweeper of the log."""
    settings = parts.settings
    outbound = Outbound(settings)
    secret = settings.sealing_secret()
    if secret is None:
        log.info("webhooks_off", because="notify_sealing_secret is not set")
        return Assembly(apis=[WebhooksApi(None, outbound), WebhookMessagesApi(None)], services=[outbound])
    seal = Seal(secret)
    channel = WebhookChannel(
        parts.pool,
        outbound,
        seal,
        send_seconds_max=settings.notify_delivery_send_seconds_max * SEND_SHARE,
        disable_after=timedelta(hours=settings.notify_webhook_disable_after_hours),
    )
    worker = DeliveryWorker(parts.pool, channel, Lane.BULK, _of_webhooks(settings))
    endpoints_max = settings.notify_webhooks_per_user_max
    intake = WebhookIntake(endpoints_max=endpoints_max, public_url=settings.public_url, queued=worker.wake)
    webhooks = Webhooks(
        pool=parts.pool,
        endpoints=Endpoints(parts.pool, seal, endpoints_per_user_max=endpoints_max),
        log=MessageLog(parts.pool),
        intake=intake,
        wake=worker.wake,
    )
    loop = ConsumeLoop(parts.bus, parts.outbox, intake.subscription(), health=parts.health)
    sweeper = WebhookLogSweeper(parts.pool, keep=timedelta(days=settings.notify_webhook_log_days))
    return Assembly(
        apis=[WebhooksApi(webhooks, outbound), WebhookMessagesApi(webhooks)],
        services=[outbound, worker, loop, sweeper],
    )


def _of_webhooks(settings: NotifySettings) -> DeliverySettings:
    """Webhooks go to very many hosts, each of which may hang: more sends at once than pushes, fewer to one host."""
    sends = {
        "notify_delivery_sends_max": settings.notify_webhook_sends_max,
        "notify_delivery_sends_per_provider_max": settings.notify_webhook_sends_per_host_max,
    }
    return settings.model_copy(update=sends)
