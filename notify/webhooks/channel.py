"""Webhooks as a delivery channel: signs and posts messages, keeps the log, and disables endpoints that only fail."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from notify.deliveries.delivery import (
    ChannelName,
    Delivered,
    Delivery,
    Dropped,
    Expired,
    Failed,
    Gone,
    Outcome,
    ProviderBusy,
    Refused,
    RetrySchedule,
    Sending,
)
from notify.outbound import Outbound
from notify.webhooks import metrics
from notify.webhooks.attempts import Attempt, Attempts
from notify.webhooks.endpoints import Places
from notify.webhooks.posting import Posting
from notify.webhooks.presets import Preset
from notify.webhooks.sealing import Seal, Unreadable
from runtime.postgres import Connection, Pool, load_queries

log = structlog.get_logger(__name__)
QUERIES = load_queries("notify")

# Over 31 hours and a half, so that a receiver that is mended within a day misses nothing.
SCHEDULE = RetrySchedule(
    waits=(
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=14),
    )
)
GONE_REASON = "it answered 410 Gone"


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """An endpoint that nothing is posted to any more until its owner enables it."""

    endpoint_id: UUID
    user_id: UUID
    disabled_because: str


TellOwner = Callable[[DisabledEndpoint], Awaitable[None]]
"""Tells the owner of an endpoint beyond what the API shows."""


async def tell_nobody(endpoint: DisabledEndpoint) -> None:
    """The API shows it; that is all."""


class WebhookChannel:
    """Posts to people's endpoints."""

    name = ChannelName.WEBHOOK
    schedule = SCHEDULE

    def __init__(
        self,
        pool: Pool,
        outbound: Outbound,
        seal: Seal,
        *,
        send_seconds_max: float,
        disable_after: timedelta,
        tell_owner: TellOwner = tell_nobody,
    ) -> None:
        self._pool = pool
        self._outbound = outbound
        self._seal = seal
        self._send_seconds_max = send_seconds_max
        self._disable_after = disable_after
        self._tell_owner = tell_owner
        self._attempts = Attempts()

    async def prepare(self, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
        """Read messages and endpoints of a batch in one query, and open what is sealed."""
        rows = await QUERIES.read_deliveries(
            self._pool,
            endpoint_ids=[one.destination_id for one in batch],
            message_ids=[one.message_id for one in batch],
        )
        found = {(row["endpoint_id"], row["message_id"]): row for row in rows}
        return {one.delivery_id: self._prepared(one, found.get((one.destination_id, one.message_id))) for one in batch}

    def _prepared(self, delivery: Delivery, row: Mapping[str, str | None] | None) -> Sending | Outcome:
        if row is None:
            return Dropped("the webhook was deleted")
        if row["state"] == "delivered":
            return Delivered()  # by a worker that was killed before it could forget the delivery
        if row["disabled_because"] is not None:
            return Dropped(f"the webhook is disabled: {row['disabled_because']}")
        try:
            posting = self._posting(delivery, row)
        except Unreadable as error:
            return _unreadable(error)
        return _Sending(self._outbound, posting, delivery, self._attempts)

    def _posting(self, delivery: Delivery, row: Mapping[str, str | None]) -> Posting:
        endpoint_id = delivery.destination_id
        place = Places.secret(endpoint_id)
        sealed = (row["secret_sealed"], row["former_secret_sealed"])
        authorization = row["authorization_sealed"]
        return Posting(
            message_id=delivery.message_id,
            url=self._seal.open(str(row["url_sealed"]), place=Places.url(endpoint_id)),
            body=str(row["body"]),
            preset=Preset(row["preset"]) if row["preset"] is not None else None,
            secrets=tuple(self._seal.open(one, place=place) for one in sealed if one is not None),
            authorization=(
                None
                if authorization is None
                else self._seal.open(authorization, place=Places.authorization(endpoint_id))
            ),
            seconds_max=self._send_seconds_max,
        )

    async def remove(self, gone: Sequence[Delivery]) -> None:
        """Disable endpoints that said so themselves (410); they stay, for their owners to see why."""
        rows = await QUERIES.disable_endpoints(
            self._pool, endpoint_ids=[one.destination_id for one in gone], disabled_because=GONE_REASON
        )
        await self._disabled([DisabledEndpoint(**row) for row in rows], why="gone")

    async def settled(self, outcomes: Sequence[tuple[Delivery, Outcome, bool]]) -> None:
        """Note the attempts, what became of the messages, and how their endpoints are doing."""
        entries = [
            entry(delivery, outcome, is_last, self._attempts.take(delivery.delivery_id))
            for delivery, outcome, is_last in outcomes
        ]
        async with self._pool.acquire() as connection, connection.transaction():
            await _log(connection, entries)
            disabled = await self._note_health(connection, outcomes)
        await self._disabled(disabled, why="failing")

    async def _note_health(
        self, connection: Connection, outcomes: Sequence[tuple[Delivery, Outcome, bool]]
    ) -> Sequence[DisabledEndpoint]:
        succeeded: dict[UUID, bool] = {}
        for delivery, outcome, _ in outcomes:
            metrics.attempts.labels(type(outcome).__name__.lower()).inc()
            if isinstance(outcome, Delivered | Failed | Gone):
                endpoint_id = delivery.destination_id
                succeeded[endpoint_id] = succeeded.get(endpoint_id, False) or isinstance(outcome, Delivered)
        if not succeeded:
            return []
        hours = self._disable_after.total_seconds() / 3_600
        rows = await QUERIES.note_endpoint_health(
            connection,
            endpoint_ids=list(succeeded),
            succeeded=list(succeeded.values()),
            failing_since_max=datetime.now(UTC) - self._disable_after,
            disabled_because=f"every attempt of {hours:g} hours has failed",
        )
        return [DisabledEndpoint(**row) for row in rows]

    async def _disabled(self, endpoints: Sequence[DisabledEndpoint], *, why: str) -> None:
        for one in endpoints:
            metrics.endpoints_disabled.labels(why).inc()
            log.info(
                "webhook_disabled",
                endpoint_id=str(one.endpoint_id),
                user_id=str(one.user_id),
                because=one.disabled_because,
            )
            await self._tell_owner(one)


def _unreadable(error: Unreadable) -> Outcome:
    log.error("webhook_unreadable", place=error.place, reason=str(error))
    return Failed("this server cannot read the webhook: it has another secret than before", blames_provider=False)


@dataclass(frozen=True, slots=True)
class _Sending:
    """One message for one endpoint."""

    outbound: Outbound
    posting: Posting
    delivery: Delivery
    attempts: Attempts

    async def send(self) -> Outcome:
        """Post once and remember how it went, for the log."""
        attempt, outcome = await self.posting.post(self.outbound)
        self.attempts.keep(self.delivery.delivery_id, attempt)
        metrics.attempt_seconds.observe(attempt.seconds)
        return outcome


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log: what an attempt made of a message."""

    delivery: Delivery
    state: str
    reason: str | None
    attempt: Attempt | None


async def _log(connection: Connection, entries: Sequence[Entry]) -> None:
    await QUERIES.settle_messages(
        connection,
        endpoint_ids=[one.delivery.destination_id for one in entries],
        message_ids=[one.delivery.message_id for one in entries],
        states=[one.state for one in entries],
        reasons=[one.reason for one in entries],
        attempted_at=[one.attempt.at if one.attempt else None for one in entries],
        seconds=[one.attempt.seconds if one.attempt else None for one in entries],
        statuses=[one.attempt.status if one.attempt else None for one in entries],
        errors=[one.reason if one.attempt else None for one in entries],
        excerpts=[one.attempt.excerpt if one.attempt else None for one in entries],
    )


def entry(delivery: Delivery, outcome: Outcome, is_last: bool, attempt: Attempt | None) -> Entry:
    """What is noted of an outcome. What was dropped or refused has failed: its owner may replay it."""
    if isinstance(outcome, Delivered):
        return Entry(delivery, "delivered", None, attempt)
    ended = is_last or isinstance(outcome, Dropped | Expired | Refused | Gone)
    state = "failed" if ended and not isinstance(outcome, ProviderBusy) else "pending"
    if attempt is None and isinstance(outcome, Failed):
        # cut off by the engine, or an error of ours: an attempt all the same
        attempt = Attempt(at=datetime.now(UTC), seconds=0.0, status=None, excerpt=None)
    return Entry(delivery, state, outcome.reason, attempt)
