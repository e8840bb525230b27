"""The log of what is posted: messages with their state, the attempts at each, and posting them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from notify.webhooks.errors import MessageNotFound, MessagePending
from runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries("notify")

State: TypeAlias = Literal["pending", "delivered", "failed"]

EXPIRES_AFTER = timedelta(days=3)
"""Longer than the whole schedule of attempts with pauses of the provider, so that it is the schedule that ends."""
ATTEMPTS_SHOWN_MAX = 100
REPLAYED_AT_ONCE_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """One event for one endpoint, and how far it got."""

    message_id: UUID
    type: str
    state: State
    attempts: int
    reason: str | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """How one attempt went. `seconds` is how long it took; `status` None: there was no answer."""

    attempted_at: datetime
    seconds: float
    status: int | None
    error: str | None
    excerpt: str | None


@dataclass(frozen=True, slots=True)
class Listener:
    """An endpoint that something is to be posted to."""

    endpoint_id: UUID
    user_id: UUID
    preset: str | None
    provider: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What is to be posted to one endpoint."""

    listener: Listener
    message_id: UUID
    type: str
    body: str


async def post_later(connection: Connection, messages: Sequence[NewMessage]) -> int:
    """Log messages and queue them, within the caller's transaction; those that are in the log already are not repeated.

    Answers how many were new.
    """
    if not messages:
        return 0
    rows = await QUERIES.insert_webhook_messages(
        connection,
        endpoint_ids=[one.listener.endpoint_id for one in messages],
        message_ids=[one.message_id for one in messages],
        types=[one.type for one in messages],
        bodies=[one.body for one in messages],
    )
    new = {(row["endpoint_id"], row["message_id"]) for row in rows}
    fresh = [one for one in messages if (one.listener.endpoint_id, one.message_id) in new]
    await _queue(connection, [(one.listener, one.message_id) for one in fresh])
    return len(fresh)


async def _queue(connection: Connection, wanted: Sequence[tuple[Listener, UUID]]) -> None:
    expires_at = datetime.now(UTC) + EXPIRES_AFTER
    await enqueue(
        connection,
        [
            NewDelivery(
                channel=ChannelName.WEBHOOK,
                lane=Lane.BULK,
                source_id=listener.endpoint_id,  # a queue for each endpoint: none waits behind another's
                message_id=message_id,
                user_id=listener.user_id,
                destination_id=listener.endpoint_id,
                provider=listener.provider,
                expires_at=expires_at,
            )
            for listener, message_id in wanted
        ],
    )


class MessageLog:
    """Reads the log of one endpoint and posts from it again. Whose endpoint it is was checked before."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_of(
        self, endpoint_id: UUID, *, state: State | None, before: UUID, items_max: int
    ) -> Sequence[Message]:
        """A page of the log, the newest first, below an id."""
        wanted: dict[str, Any] = {"endpoint_id": endpoint_id, "before_message_id": before, "items_max": items_max}
        if state is None:
            rows = await QUERIES.list_webhook_messages(self._pool, **wanted)
        else:
            rows = await QUERIES.list_webhook_messages_in_state(self._pool, **wanted, state=state)
        return [Message(**row) for row in rows]

    async def find(self, endpoint_id: UUID, message_id: UUID) -> tuple[Message, str, Sequence[LoggedAttempt]]:
        """A message, what was posted, and the latest attempts, the newest first; raises MessageNotFound."""
        row = await QUERIES.find_webhook_message(self._pool, endpoint_id=endpoint_id, message_id=message_id)
        if row is None:
            raise MessageNotFound(f"webhook {endpoint_id} has no message {message_id} in its log")
        attempts = await QUERIES.list_webhook_attempts(
            self._pool, endpoint_id=endpoint_id, message_id=message_id, items_max=ATTEMPTS_SHOWN_MAX
        )
        known = dict(row)
        body: str = known.pop("body")
        return Message(**known), body, [LoggedAttempt(**attempt) for attempt in attempts]

    async def replay(self, user_id: UUID, endpoint_id: UUID, message_id: UUID) -> None:
        """Post a message again under the same id; raises MessageNotFound, MessagePending."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await QUERIES.reopen_message(connection, endpoint_id=endpoint_id, message_id=message_id) is None:
                if await QUERIES.find_webhook_message(connection, endpoint_id=endpoint_id, message_id=message_id):
                    raise MessagePending("it is still being tried; replay it when that has ended")
                raise MessageNotFound(f"webhook {endpoint_id} has no message {message_id} in its log")
            await self._queue_again(connection, user_id, endpoint_id, [message_id])

    async def replay_failed(self, user_id: UUID, endpoint_id: UUID, *, since: datetime) -> int:
        """Post failed messages from a time on again, the oldest first, up to `REPLAYED_AT_ONCE_MAX`; how many."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await QUERIES.reopen_failed_messages(
                connection, endpoint_id=endpoint_id, since=since, messages_max=REPLAYED_AT_ONCE_MAX
            )
            message_ids = sorted(row["message_id"] for row in rows)
            await self._queue_again(connection, user_id, endpoint_id, message_ids)
        return len(message_ids)

    async def _queue_again(
        self, connection: Connection, user_id: UUID, endpoint_id: UUID, message_ids: Sequence[UUID]
    ) -> None:
        provider = await QUERIES.find_provider(connection, endpoint_id=endpoint_id)
        if provider is None:
            raise MessageNotFound(f"webhook {endpoint_id} was deleted")
        listener = Listener(endpoint_id, user_id, None, provider)
        await _queue(connection, [(listener, message_id) for message_id in message_ids])
