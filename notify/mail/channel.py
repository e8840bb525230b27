"""The delivery channel for mail: reads for a whole batch what it says and where it goes, and sends it by SMTP."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.headerregistry import Address
from uuid import UUID

import structlog

from notify.deliveries.delivery import (
    ChannelName,
    Delivered,
    Delivery,
    Dropped,
    Failed,
    Lane,
    Outcome,
    RetrySchedule,
    Sending,
)
from notify.mail import metrics, store
from notify.mail.batch import Batch, Words, read_batch
from notify.mail.links import Links
from notify.mail.message import Unsubscribing, mail_content, message_id
from notify.mail.replies import is_hard_bounce, outcome_of
from notify.mail.smtp import Mail, NotSent, NotTaken, SmtpConnections
from notify.mail.store import MailedVerification, queries
from notify.mail.templates import Template, Templates, typed
from notify.mail.unsubscribe import UnsubscribeKey
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

VERIFICATION_HOURS = 24
TOKEN_BYTES = 32

_MINUTE = timedelta(minutes=1)
SCHEDULES = {
    # somebody sits there and waits
    Lane.TRANSACTIONAL: RetrySchedule([_MINUTE / 12, _MINUTE / 4, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 60 * _MINUTE]),
    Lane.BULK: RetrySchedule([_MINUTE, 5 * _MINUTE, 15 * _MINUTE, 60 * _MINUTE, 180 * _MINUTE]),
}


@dataclass(frozen=True)
class MailParts:
    """What both lanes need to write a mail."""

    pool: Pool
    templates: Templates
    links: Links
    sender: Address
    key: UnsubscribeKey
    bounces_max: int


class MailChannel:
    """Mail of one lane, over connections of its own."""

    def __init__(self, parts: MailParts, connections: SmtpConnections, lane: Lane) -> None:
        self._parts = parts
        self._connections = connections
        self._lane = lane

    @property
    def name(self) -> ChannelName:
        """Mail."""
        return ChannelName.EMAIL

    @property
    def schedule(self) -> RetrySchedule:
        """Quick at first for what somebody waits for."""
        return SCHEDULES[self._lane]

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """Four queries at most, however large the batch is."""
        tokens = await self._parts.key.tokens()
        read = await read_batch(self._parts.pool, batch)
        return {one.delivery_id: self._prepared(one, read, tokens.issue) for one in batch}

    def _prepared(self, delivery: Delivery, batch: Batch, issue: Callable[[UUID], str]) -> Sending | Outcome:
        verification = batch.verification_of(delivery)
        if verification is not None:
            return _VerificationMail(self, delivery, verification)
        recipient = batch.recipients.get(delivery.destination_id)
        if recipient is None:
            return Dropped("the address is not there any more")
        if recipient.unsubscribed_at is not None and delivery.created_at <= recipient.unsubscribed_at:
            return Dropped("unsubscribed")
        words = batch.words_for(delivery, recipient, self._parts.links)
        if isinstance(words, Dropped):
            return words
        unsubscribing = self._parts.links.unsubscribing(issue(recipient.destination_id))
        return _Notice(self, delivery, recipient.address, words, unsubscribing)

    async def write_and_send(
        self, delivery: Delivery, recipient: str, words: Words, unsubscribing: Unsubscribing | None
    ) -> Outcome:
        """Write one mail and hand it over; what became of that."""
        parts = self._parts
        stop_url = unsubscribing.page_url if unsubscribing else None
        values = {"home_url": parts.links.home_url, "stop_url": stop_url, **words.values}
        content = mail_content(
            parts.templates.write(words.template, values),
            sender=parts.sender,
            recipient=recipient,
            identity=message_id(delivery.message_id, delivery.destination_id, parts.sender.domain),
            unsubscribing=unsubscribing,
        )
        try:
            await self._connections.send(Mail(parts.sender.addr_spec, recipient, content))
        except NotSent as error:
            answer = f"{error.code // 100}xx" if isinstance(error, NotTaken) else "none"
            metrics.mails_refused.labels(answer).inc()
            return outcome_of(error, recipient=recipient)
        metrics.mails_sent.labels(words.template).inc()
        return Delivered()

    async def write_verification(self, delivery: Delivery, verification: MailedVerification) -> Outcome:
        """Make a token that only this mail has, keep its hash, and send it."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        try:
            await queries.insert_verification_token(
                self._parts.pool, token_hash=token_hash(token), verification_id=verification.verification_id
            )
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            return Failed(f"its token was not kept: {type(error).__name__}", blames_provider=False)
        values = {
            "username": typed(verification.username or "somebody"),
            "hours": VERIFICATION_HOURS,
            "confirm_url": self._parts.links.confirm(token),
        }
        return await self.write_and_send(delivery, verification.address, Words(Template.VERIFICATION, values), None)

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Forget these mailboxes."""
        await queries.delete_mail_destinations_by_id(
            self._parts.pool, destination_ids=[one.destination_id for one in gone]
        )

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Count the mailboxes that do not exist; one of which that was said too often is not used any more."""
        bounced = {one.destination_id for one, outcome, _ in outcomes if is_hard_bounce(outcome)}
        reached = {one.destination_id for one, outcome, _ in outcomes if isinstance(outcome, Delivered)}
        if reached:
            await queries.forget_bounces(self._parts.pool, destination_ids=sorted(reached))
        if bounced:
            async with self._parts.pool.acquire() as connection, connection.transaction():
                given_up = await store.give_up_bounced(connection, sorted(bounced), bounces_max=self._parts.bounces_max)
            if given_up:
                metrics.mailboxes_bounced.inc(given_up)
                log.info("mailboxes_given_up", mailboxes=given_up, bounces_max=self._parts.bounces_max)


@dataclass(frozen=True)
class _Notice:
    channel: MailChannel
    delivery: Delivery
    recipient: str
    words: Words
    unsubscribing: Unsubscribing

    async def send(self) -> Outcome:
        return await self.channel.write_and_send(self.delivery, self.recipient, self.words, self.unsubscribing)


@dataclass(frozen=True)
class _VerificationMail:
    channel: MailChannel
    delivery: Delivery
    verification: MailedVerification

    async def send(self) -> Outcome:
        return await self.channel.write_verification(self.delivery, self.verification)


class MailOffChannel:
    """Takes the place of both lanes when there is no SMTP server: what is queued all the same must not pile up."""

    def __init__(self) -> None:
        self.name = ChannelName.EMAIL
        self.schedule = RetrySchedule([])

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """Nobody gets anything."""
        return {one.delivery_id: Dropped("this server sends no mail") for one in batch}

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Nothing: nobody was told that anything is gone."""

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Nothing: nothing was sent."""


def token_hash(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()
