"""Web Push as a delivery channel: encrypts a notice for each browser, and reads what its push service answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from notify.deliveries.delivery import (
    ChannelName,
    Delivery,
    Dropped,
    Failed,
    Outcome,
    Refused,
    RetrySchedule,
    Sending,
)
from notify.outbound import AddressRefused, Answer, Outbound, OutboundFailed
from notify.webpush import store
from notify.webpush.answers import SIGNATURE_REFUSED, TOO_LARGE, outcome_of
from notify.webpush.encryption import encrypt
from notify.webpush.messages import PushMessage, shown
from notify.webpush.store import Target, Told
from notify.webpush.vapid import Vapid
from runtime.postgres import Pool

log = structlog.get_logger(__name__)

# A notice of a start is worth less every minute, and the push service keeps it for a browser that is away anyway.
SCHEDULE = RetrySchedule(waits=tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600)))
NOT_TOLD_ANY_MORE = frozenset({"cancelled", "ended"})
SAID_CHARACTERS_MAX = 200
"""Of a push service's own words that are logged."""
REFUSING_PROVIDERS_MAX = 1_000
"""Those whose refusals of our signature are remembered, so that each is one line in the log."""


@dataclass(frozen=True)
class PushLimits:
    """How long things may take and keep."""

    ttl: timedelta
    send_seconds_max: float
    retry_after_default: timedelta


class WebPushChannel:
    """Sends to browsers."""

    name = ChannelName.WEBPUSH
    schedule = SCHEDULE

    def __init__(self, pool: Pool, outbound: Outbound, vapid: Vapid, limits: PushLimits) -> None:
        self._pool = pool
        self._sender = PushSender(outbound, vapid, limits)

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """Read the subscriptions and the notices of a batch, in a query each."""
        targets = await store.find_targets(self._pool, {delivery.destination_id for delivery in batch})
        told = await store.find_messages(self._pool, {delivery.message_id for delivery in batch})
        return {
            delivery.delivery_id: self._prepared(
                delivery, targets.get(delivery.destination_id), told.get(delivery.message_id)
            )
            for delivery in batch
        }

    def _prepared(self, delivery: Delivery, target: Target | None, told: Told | None) -> Sending | Outcome:
        if target is None or target.user_id != delivery.user_id:
            return Dropped("the browser is not subscribed any more")
        if told is None:
            return Dropped("the fan-out is not there any more")
        if told.state in NOT_TOLD_ANY_MORE:
            return Dropped(f"the fan-out is {told.state}")
        return PushSending(self._sender, delivery, target, told.message)

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Forget subscriptions that their push services do not know any more."""
        deleted = await store.delete_gone(self._pool, {delivery.destination_id for delivery in gone})
        providers = Counter(delivery.provider for delivery in gone)
        log.info("push_subscriptions_gone", deleted=deleted, providers=dict(providers.most_common(5)))

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Nothing more to do: the engine counts."""


class WebPushOffChannel:
    """Stands in while there is no key: what is queued for browsers is dropped rather than kept until one comes."""

    name = ChannelName.WEBPUSH
    schedule = SCHEDULE

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """Drop all of it."""
        return {delivery.delivery_id: Dropped("Web Push is off") for delivery in batch}

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Nothing was sent, so nothing is gone."""

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Nothing more to do."""


@dataclass(frozen=True, slots=True)
class PushSending:
    """One message for one browser."""

    sender: "PushSender"
    delivery: Delivery
    target: Target
    message: PushMessage

    async def send(self) -> Outcome:
        """Try once; a message that the service finds too large, once more without its body."""
        ttl = self.delivery.expires_at - datetime.now(UTC)
        try:
            answer = await self.sender.post(self.target, self.message, self.message.payload, ttl)
            if answer.status == TOO_LARGE:
                answer = await self.sender.post(self.target, self.message, self.message.short_payload, ttl)
        except AddressRefused as refused:
            return Refused(refused.reason)
        except OutboundFailed as failed:  # an answer with a status that cannot be used is a redirect
            return Failed(failed.reason) if failed.status is None else Refused(failed.reason)
        return self.sender.outcome_of(answer, self.delivery)


class PushSender:
    """Posts encrypted messages, signed for the push service that they go to."""

    def __init__(self, outbound: Outbound, vapid: Vapid, limits: PushLimits) -> None:
        self._outbound = outbound
        self._vapid = vapid
        self._limits = limits
        self._refusing: set[str] = set()

    async def post(self, target: Target, message: PushMessage, payload: bytes, ttl: timedelta) -> Answer:
        """The answer of the push service; raises AddressRefused, OutboundFailed."""
        return await self._outbound.post(
            target.endpoint,
            body=encrypt(payload, p256dh=target.p256dh, auth=target.auth),
            headers=self.headers(target.endpoint, message, ttl),
            seconds_max=self._limits.send_seconds_max,
        )

    def headers(self, endpoint: str, message: PushMessage, ttl: timedelta) -> dict[str, str]:
        """Of a push request (RFC 8030, section 5); `ttl` is how long the delivery is wanted."""
        kept_seconds = max(0, int(min(ttl, self._limits.ttl).total_seconds()))
        return {
            "Authorization": self._vapid.authorization(endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(kept_seconds),
            "Topic": message.topic,
            "Urgency": message.urgency,
        }

    def outcome_of(self, answer: Answer, delivery: Delivery) -> Outcome:
        """What an answer means; a push service that does not accept our signature is an error to look at, said once."""
        provider = delivery.provider
        is_news = provider not in self._refusing and len(self._refusing) < REFUSING_PROVIDERS_MAX
        if answer.status in SIGNATURE_REFUSED and is_news:
            self._refusing.add(provider)
            said = shown(answer.excerpt.decode(errors="replace"), SAID_CHARACTERS_MAX)
            log.error("push_signature_refused", provider=provider, status=answer.status, said=said)
        return outcome_of(
            answer.status, retry_after=answer.retry_after, retry_after_default=self._limits.retry_after_default
        )
