"""Deliveries that were given up on: to be looked at, and put back into their queues."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from notify.deliveries.delivery import ChannelName, Lane
from notify.deliveries.queueing import NewDelivery, enqueue
from runtime.postgres import Pool, load_queries

queries = load_queries("notify")

REPLAY_BATCH_MAX = 1_000
"""Put back in one transaction."""


class NoSuchDelivery(Exception):
    """There is no dead delivery with this id. `delivery_id` is the one asked for."""

    def __init__(self, delivery_id: int) -> None:
        super().__init__(f"no dead delivery {delivery_id}: it was replayed, or is older than they are kept")
        self.delivery_id = delivery_id


@dataclass(frozen=True, slots=True)
class DeadDelivery:
    """What was to be sent, and why it was given up on."""

    delivery_id: int
    channel: ChannelName
    lane: Lane
    source_id: UUID
    message_id: UUID
    user_id: UUID
    destination_id: UUID
    provider: str
    attempts: int
    content: Mapping[str, Any] | None
    reason: str
    created_at: datetime
    died_at: datetime


async def list_dead(
    pool: Pool,
    *,
    channel: ChannelName | None = None,
    source_id: UUID | None = None,
    provider: str | None = None,
    rows_max: int,
) -> Sequence[DeadDelivery]:
    """Dead deliveries, the newest first."""
    rows = await queries.list_dead_deliveries(
        pool, channel=channel and channel.value, source_id=source_id, provider=provider, rows_max=rows_max
    )
    return [_dead(row) for row in rows]


async def find_dead(pool: Pool, delivery_id: int) -> DeadDelivery:
    """One dead delivery; raises NoSuchDelivery."""
    row = await queries.find_dead_delivery(pool, delivery_id=delivery_id)
    if row is None:
        raise NoSuchDelivery(delivery_id)
    return _dead(row)


async def replay(pool: Pool, delivery_ids: Sequence[int], *, valid_for: timedelta) -> int:
    """Queue dead deliveries again, with all their attempts, until ``valid_for`` from now; how many there were.

    The message ids stay, so receivers recognise what they had got after all. What is not wanted any more (the fan-out
    was cancelled, the destination is gone) is dropped by the worker as always.
    """
    expires_at = datetime.now(UTC) + valid_for
    replayed = 0
    for first in range(0, len(delivery_ids), REPLAY_BATCH_MAX):
        batch = list(delivery_ids[first : first + REPLAY_BATCH_MAX])
        async with pool.acquire() as connection, connection.transaction():
            taken = [_dead(row) for row in await queries.take_dead_deliveries(connection, delivery_ids=batch)]
            await enqueue(connection, [_again(one, expires_at) for one in taken])
        replayed += len(taken)
    return replayed


def _dead(row: Mapping[str, Any]) -> DeadDelivery:
    values = dict(row)
    values["channel"], values["lane"] = ChannelName(values["channel"]), Lane(values["lane"])
    values["content"] = None if values["content"] is None else json.loads(values["content"])
    return DeadDelivery(**values)


def _again(dead: DeadDelivery, expires_at: datetime) -> NewDelivery:
    return NewDelivery(
        channel=dead.channel,
        lane=dead.lane,
        source_id=dead.source_id,
        message_id=dead.message_id,
        user_id=dead.user_id,
        destination_id=dead.destination_id,
        provider=dead.provider,
        expires_at=expires_at,
        content=dead.content,
    )
