"""Putting deliveries into their queues, within the transaction that makes them necessary.

Pages of a fan-out do the same in a statement of their own. After the commit a `DeliveryWorker` of the same process may
be told (`DeliveryWorker.wake`); every other one finds them within its poll.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from notify.deliveries.delivery import ChannelName, Lane
from runtime.postgres import Connection, load_queries

queries = load_queries("notify")

_Queue: TypeAlias = tuple[str, str, UUID]


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One thing to be sent to one destination."""

    channel: ChannelName
    lane: Lane
    source_id: UUID
    """The fan-out, webhook endpoint or person that it is of: deliveries of one source share a queue."""
    message_id: UUID
    """The same in every attempt: the notice's id, or the event's."""
    user_id: UUID
    destination_id: UUID
    provider: str
    """Who takes it, as `host:port`: the destination's provider."""
    expires_at: datetime
    """Not sent any more after this."""
    content: Mapping[str, Any] | None = None
    """What to send, where that does not follow from the message id; must be JSON."""
    due_at: datetime | None = None
    """Not before; None: at once."""


async def enqueue(connection: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Queue deliveries in the caller's transaction; they are sent after its commit, each at least once."""
    if not deliveries:
        return
    wanted = [_queue_of(one) for one in deliveries]
    queue_ids = await _queues(connection, sorted(set(wanted)))
    await queries.insert_deliveries(
        connection,
        queue_ids=[queue_ids[queue] for queue in wanted],
        message_ids=[one.message_id for one in deliveries],
        user_ids=[one.user_id for one in deliveries],
        destination_ids=[one.destination_id for one in deliveries],
        providers=[one.provider for one in deliveries],
        due_ats=[one.due_at for one in deliveries],
        expires_ats=[one.expires_at for one in deliveries],
        contents=[None if one.content is None else json.dumps(one.content) for one in deliveries],
    )


async def _queues(connection: Connection, wanted: Sequence[_Queue]) -> Mapping[_Queue, int]:
    """Their ids, held until the end of the transaction: an empty queue that is old may be removed at any moment."""
    names = {
        "channels": [channel for channel, _, _ in wanted],
        "lanes": [lane for _, lane, _ in wanted],
        "source_ids": [source_id for _, _, source_id in wanted],
    }
    while True:
        rows = await queries.hold_delivery_queues(connection, **names)
        found = {(row["channel"], row["lane"], row["source_id"]): row["queue_id"] for row in rows}
        if len(found) == len(wanted):
            return found
        await queries.ensure_delivery_queues(connection, **names)


def _queue_of(one: NewDelivery) -> _Queue:
    return one.channel.value, one.lane.value, one.source_id
