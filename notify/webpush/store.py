"""The tables of Web Push as the objects that it speaks of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from notify.store import queries
from notify.webpush.messages import PushMessage, message_of
from runtime.postgres import Connection, Pool


@dataclass(frozen=True, slots=True)
class Registered:
    """A subscription as its owner sees it: without what would let anybody address the browser."""

    destination_id: UUID
    provider: str
    created_at: datetime
    renewed_at: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes, and whose keys it is encrypted for."""

    destination_id: UUID
    user_id: UUID
    endpoint: str = field(repr=False)
    p256dh: bytes = field(repr=False)
    auth: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """The message of a fan-out, and the state of that."""

    message: PushMessage
    state: str


async def lock(connection: Connection, *, user_id: UUID, endpoint: str) -> None:
    """Wait until nobody else changes the subscriptions of this person or of this endpoint."""
    await queries.lock_push_subscriptions(connection, user_id=user_id, endpoint=endpoint)


async def find_owner(connection: Connection, endpoint: str) -> tuple[UUID, UUID] | None:
    """The destination and the person that an endpoint belongs to; None: it is new."""
    row = await queries.find_push_subscription(connection, endpoint=endpoint)
    return None if row is None else (row["destination_id"], row["user_id"])


async def renew(connection: Connection, destination_id: UUID, *, p256dh: bytes, auth: bytes) -> Registered:
    """Keep the keys that came with an endpoint that is known already."""
    row = await queries.renew_push_subscription(connection, destination_id=destination_id, p256dh=p256dh, auth=auth)
    return Registered(**row)


async def insert(connection: Connection, target: Target, *, provider: str) -> Registered:
    """Keep a new subscription with its destination."""
    row = await queries.insert_push_subscription(
        connection,
        destination_id=target.destination_id,
        user_id=target.user_id,
        provider=provider,
        endpoint=target.endpoint,
        p256dh=target.p256dh,
        auth=target.auth,
    )
    return Registered(**row)


async def count(connection: Connection, user_id: UUID) -> int:
    """How many subscriptions a person has."""
    found: int = await queries.count_push_subscriptions(connection, user_id=user_id)
    return found


async def list_of(pool: Pool, user_id: UUID, *, items_max: int) -> Sequence[Registered]:
    """The subscriptions of a person, the oldest first."""
    rows = await queries.list_push_subscriptions(pool, user_id=user_id, items_max=items_max)
    return [Registered(**row) for row in rows]


async def delete(connection: Connection | Pool, destination_id: UUID, *, user_id: UUID) -> bool:
    """Forget a subscription of a person; False: the person has none of this id."""
    found = await queries.delete_push_subscription(connection, destination_id=destination_id, user_id=user_id)
    return found is not None


async def delete_gone(pool: Pool, destination_ids: Collection[UUID]) -> int:
    """Forget subscriptions, whoever has them; answers how many there were."""
    deleted: int = await queries.delete_push_destinations(pool, destination_ids=list(destination_ids))
    return deleted


async def find_targets(pool: Pool, destination_ids: Collection[UUID]) -> Mapping[UUID, Target]:
    """The subscriptions of some destinations, those that are still there, in one query."""
    rows = await queries.find_push_subscriptions(pool, destination_ids=list(destination_ids))
    return {row["destination_id"]: Target(**row) for row in rows}


async def find_messages(pool: Pool, fanout_ids: Collection[UUID]) -> Mapping[UUID, Told]:
    """What some fan-outs tell, and how they stand, in one query."""
    rows = await queries.find_push_notices(pool, fanout_ids=list(fanout_ids))
    return {row["fanout_id"]: Told(message=message_of(row), state=row["state"]) for row in rows}
