"""Calls to a delivery channel whose failure is the failure of single deliveries, and of nothing else."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from notify.deliveries.delivery import Channel, Delivery, Failed, Outcome, Sending
from runtime.unavailable import is_unavailable

log = structlog.get_logger(__name__)

_NOT_PREPARED = Failed("the delivery channel did not prepare it", blames_provider=False)


async def prepare(channel: Channel, batch: Sequence[Delivery]) -> Mapping[int, Sending | Outcome]:
    """What `Channel.prepare` says of every delivery; one that it cannot do fails alone.

    Raises what means that a dependency is away: then nothing is known of any of them.
    """
    try:
        prepared = await channel.prepare(batch)
    except Exception as error:
        if is_unavailable(error):
            raise
        if len(batch) == 1:
            log.exception("delivery_not_prepared", channel=channel.name, delivery_id=batch[0].delivery_id)
            return {batch[0].delivery_id: Failed(_text(error), blames_provider=False)}
        half = len(batch) // 2
        return {**await prepare(channel, batch[:half]), **await prepare(channel, batch[half:])}
    return {one.delivery_id: prepared.get(one.delivery_id, _NOT_PREPARED) for one in batch}


async def send(sending: Sending, *, seconds_max: float) -> Outcome:
    """Try once; an exception, and an attempt that takes too long, is a failure."""
    limit = asyncio.timeout(seconds_max)
    try:
        async with limit:
            return await sending.send()
    except Exception as error:  # noqa: BLE001  whatever it is, it is the failure of this one attempt
        if limit.expired():
            return Failed(f"not over within {seconds_max:g} s")
        log.warning("send_raised", error=type(error).__name__, reason=str(error))
        return Failed(_text(error))


async def tell(channel: Channel, outcomes: Sequence[tuple[Delivery, Outcome, bool]], gone: Sequence[Delivery]) -> None:
    """Let the channel remove destinations and hear the outcomes; raises only when a dependency is away.

    A mistake in that must not make the batch be sent again and again.
    """
    try:
        if gone:
            await channel.remove(gone)
        if outcomes:
            await channel.settled(outcomes)
    except Exception as error:
        if is_unavailable(error):
            raise
        log.exception("delivery_outcomes_not_heard", channel=channel.name, deliveries=len(outcomes))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
