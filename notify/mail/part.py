"""Puts mail together: its endpoints, a worker for each lane, digests and upkeep."""

from notify.deliveries.delivery import Lane
from notify.deliveries.worker import DeliveryWorker
from notify.mail.addresses import parse_sender
from notify.mail.api import EmailApi
from notify.mail.channel import MailChannel, MailOffChannel, MailParts
from notify.mail.digest import Digests
from notify.mail.links import Links
from notify.mail.mailboxes import Mailboxes
from notify.mail.settings import MailSettings
from notify.mail.smtp import SmtpConnections, SmtpServer
from notify.mail.templates import Templates
from notify.mail.unsubscribe import UnsubscribeKey
from notify.mail.upkeep import MailUpkeep
from notify.parts import NotifyParts
from notify.settings import NotifySettings
from runtime.assembly import Assembly

TRANSACTIONAL_CONNECTIONS_MAX = 2
BATCH_PER_CONNECTION_MAX = 25
"""Few are taken at once: what a worker has taken waits for its slow server, and not for another worker."""
EXCHANGE_ANSWERS = 4
"""Slow answers that one mail may wait for before the attempt has failed; the server's own limit is for each."""


def assemble_mail(parts: NotifyParts) -> Assembly:
    """Mail as it is set: with an SMTP server everything, without one the endpoints that say so."""
    key = UnsubscribeKey(parts.pool)
    settings = parts.settings
    server = smtp_server(settings)
    upkeep = MailUpkeep(parts.pool, provider=server.provider if server else None)
    if server is None:
        dropping = DeliveryWorker(parts.pool, MailOffChannel(), Lane.BULK, settings)
        return Assembly(apis=[EmailApi(parts.pool, None, key)], services=[dropping, upkeep])
    mail_parts = MailParts(
        pool=parts.pool,
        templates=Templates(),
        links=Links(settings.public_url),
        sender=parse_sender(settings.notify_smtp_from or ""),
        key=key,
        bounces_max=settings.notify_mail_bounces_max,
    )
    lanes = {Lane.TRANSACTIONAL: TRANSACTIONAL_CONNECTIONS_MAX, Lane.BULK: settings.notify_smtp_connections_max}
    connections = {lane: _connections(server, settings, lane, limit) for lane, limit in lanes.items()}
    workers = {
        lane: DeliveryWorker(
            parts.pool, MailChannel(mail_parts, connections[lane], lane), lane, _worker_settings(settings, limit)
        )
        for lane, limit in lanes.items()
    }
    parts.doorbell.wakes(workers[Lane.BULK].wake)
    mailboxes = Mailboxes(
        parts.pool,
        provider=server.provider,
        requests_per_hour_max=settings.notify_mail_requests_per_hour_max,
        queued=workers[Lane.TRANSACTIONAL].wake,
    )
    digests = Digests(parts.pool, provider=server.provider)
    return Assembly(
        apis=[EmailApi(parts.pool, mailboxes, key)],
        services=[*connections.values(), *workers.values(), digests, upkeep],
    )


def smtp_server(settings: MailSettings) -> SmtpServer | None:
    """The server that the settings name; None: no mail is sent."""
    if settings.notify_smtp_host is None or settings.notify_smtp_from is None:
        return None
    return SmtpServer(
        host=settings.notify_smtp_host,
        port=settings.notify_smtp_port,
        tls=settings.notify_smtp_tls,
        own_domain=parse_sender(settings.notify_smtp_from).domain,
        username=settings.notify_smtp_username,
        password=settings.notify_smtp_password,
        seconds_max=settings.notify_smtp_seconds_max,
    )


def _connections(server: SmtpServer, settings: MailSettings, lane: Lane, connections_max: int) -> SmtpConnections:
    return SmtpConnections(
        server,
        name=f"smtp-{lane}",
        connections_max=connections_max,
        messages_max=settings.notify_smtp_connection_messages_max,
    )


def _worker_settings(settings: NotifySettings, sends_max: int) -> NotifySettings:
    """A mail needs several answers of the server; and more sends than connections would only wait for each other."""
    seconds_max = settings.notify_smtp_seconds_max * EXCHANGE_ANSWERS
    return settings.model_copy(
        update={
            "notify_delivery_sends_max": sends_max,
            "notify_delivery_sends_per_provider_max": sends_max,
            "notify_delivery_batch_max": min(settings.notify_delivery_batch_max, sends_max * BATCH_PER_CONNECTION_MAX),
            "notify_delivery_send_seconds_max": max(settings.notify_delivery_send_seconds_max, seconds_max),
            "notify_delivery_lease_seconds": max(settings.notify_delivery_lease_seconds, 2 * seconds_max),
        }
    )
