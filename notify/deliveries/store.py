"""The tables of deliveries as the objects that the workers speak of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from uuid import UUID

from notify.deliveries.delivery import ChannelName, Delivery, Dropped, Expired, Lane
from runtime.postgres import Connection, Pool, load_queries

queries = load_queries("notify")

PROVIDERS_READ_MAX = 1_000

FATES: Mapping[str, Dropped | Expired] = {
    "dropped": Dropped("the fan-out was stopped"),
    "expired": Expired(),
}
"""What is not to be sent any more, as `claim_deliveries` says it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that was taken, and what became of it if it is not to be sent."""

    delivery: Delivery
    fate: Dropped | Expired | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be written of a leased delivery."""

    delivery_id: int
    lease: UUID
    outcome: str
    reason: str
    wait_seconds: float | None
    """Due again after so long; None: it ends."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A provider that is left alone for a while."""

    provider: str
    seconds: float
    """From now; below zero: it is over."""
    failures: int
    """Pauses in a row that it did not recover from; 0: it asked for this one."""
    reason: str = ""


async def claim(
    pool: Pool,
    channel: ChannelName,
    lane: Lane,
    *,
    rows_max: int,
    lease: UUID,
    lease_seconds: float,
    rooms: Mapping[str, int],
) -> Sequence[Claimed]:
    """Take deliveries that are due; of the providers in ``rooms`` no more than so many."""
    rows = await queries.claim_deliveries(
        pool,
        channel=channel.value,
        lane=lane.value,
        rows_max=rows_max,
        lease=lease,
        lease_seconds=lease_seconds,
        providers=list(rooms),
        rooms=list(rooms.values()),
    )
    return [_claimed(*row) for row in rows]


def _claimed(
    delivery_id: int,
    source_id: UUID,
    message_id: UUID,
    user_id: UUID,
    destination_id: UUID,
    provider: str,
    attempts: int,
    created_at: datetime,
    expires_at: datetime,
    content: str | None,
    fate: str | None,
) -> Claimed:
    delivery = Delivery(
        delivery_id,
        source_id,
        message_id,
        user_id,
        destination_id,
        provider,
        attempts,
        created_at,
        expires_at,
        None if content is None else json.loads(content),
    )
    return Claimed(delivery, None if fate is None else FATES[fate])


async def settle(connection: Connection | Pool, verdicts: Sequence[Verdict]) -> int:
    """Write what became of deliveries; how many there were whose lease still was the worker's."""
    # in one order everywhere, so that two workers who know the same deliveries never wait for each other in a ring
    verdicts = sorted(verdicts, key=attrgetter("delivery_id"))
    rows = await queries.settle_deliveries(
        connection,
        delivery_ids=[one.delivery_id for one in verdicts],
        leases=[one.lease for one in verdicts],
        outcomes=[one.outcome for one in verdicts],
        reasons=[one.reason for one in verdicts],
        wait_seconds=[one.wait_seconds for one in verdicts],
    )
    return len(rows)


async def pause_providers(connection: Connection | Pool, channel: ChannelName, pauses: Sequence[Pause]) -> None:
    """Leave providers alone, for all workers; the longest of several pauses counts."""
    longest = {one.provider: one for one in sorted(pauses, key=lambda one: one.seconds)}
    await queries.pause_providers(
        connection,
        channel=channel.value,
        providers=list(longest),
        seconds=[one.seconds for one in longest.values()],
        failures=[one.failures for one in longest.values()],
        reasons=[one.reason for one in longest.values()],
    )


async def resume_providers(connection: Connection | Pool, channel: ChannelName, providers: Sequence[str]) -> None:
    """Send to providers as always again."""
    await queries.resume_providers(connection, channel=channel.value, providers=list(providers))


async def list_pauses(connection: Connection | Pool, channel: ChannelName) -> Sequence[Pause]:
    """The pauses of a channel's providers, those that last longest first."""
    rows = await queries.list_pauses(connection, channel=channel.value, providers_max=PROVIDERS_READ_MAX)
    return [Pause(**row) for row in rows]


async def sweep(pool: Pool, *, idle: timedelta, dead_kept: timedelta, rows_max: int) -> tuple[int, int, int]:
    """Remove empty queues, old dead deliveries and old pauses; how many of each."""
    return (
        await queries.sweep_queues(pool, idle=idle, rows_max=rows_max),
        await queries.sweep_dead_deliveries(pool, keep=dead_kept, rows_max=rows_max),
        await queries.sweep_providers(pool, keep=idle),
    )
