"""Sends what is queued for one delivery channel and lane, as a service.

It claims, prepares, sends (`sending`) and settles (`settling`) at the same time: while some deliveries are on their
way, others are claimed and others settled. Everything between is bounded: what is taken ahead for a provider, sends at
once, and all that is claimed and not yet settled.

What it claims is its own until the lease ends. Attempts begin only if they can be over by then, so leases need no
renewal; what is not begun in time is given back. A worker that dies costs nothing but the rest of its leases: others
send those again, with the same message ids.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from notify.deliveries import attempts, metrics, store
from notify.deliveries.delivery import Channel, Lane, Outcome
from notify.deliveries.lines import Leased
from notify.deliveries.results import Result
from notify.deliveries.sending import Senders
from notify.deliveries.settings import SETTLE_SECONDS, DeliverySettings
from notify.deliveries.settling import AWAY_SECONDS_MAX, Settler
from notify.deliveries.store import Claimed
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.postgres import Pool
from runtime.unavailable import PERHAPS_AWAY, is_unavailable

log = structlog.get_logger(__name__)

HELD_BATCHES_MAX = 6
"""Claimed and not yet settled, of all providers together."""
POLL_FIRST_SECONDS = 0.25
TRANSACTIONAL_POLL_SECONDS_MAX = 0.25
PAUSES_READ_SECONDS = 1.0
STOP_SHARE = 0.5
"""Of the process's grace, for sends that are under way at its end."""


class DeliveryWorker:
    """Any number of them, in any number of processes, share the queues of their channel and lane."""

    def __init__(self, pool: Pool, channel: Channel, lane: Lane, settings: DeliverySettings) -> None:
        self.name = f"deliveries-{channel.name}-{lane}"
        self._pool = pool
        self._channel = channel
        self._lane = lane
        self._settings = settings
        self._labels = (channel.name.value, lane.value)
        self._batch_max = settings.notify_delivery_batch_max
        self._poll_seconds_max = settings.notify_delivery_poll_seconds_max
        if lane is Lane.TRANSACTIONAL:
            self._poll_seconds_max = min(self._poll_seconds_max, TRANSACTIONAL_POLL_SECONDS_MAX)
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._claimed = 0
        self._pauses_read_at = float("-inf")

    def wake(self) -> None:
        """Look for work at once: something was queued and committed in this process."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled; then let what is under way end, and give back the rest."""
        self._is_stopping, self._claimed = False, 0
        settler = Settler(self._pool, self._channel, self._lane, batch_max=self._batch_max)
        senders = Senders(self._channel, settler, self._settings)
        settling = asyncio.create_task(settler.run(), name=f"{self.name}-settling")
        claiming = asyncio.create_task(self._claim_for_ever(settler, senders), name=f"{self.name}-claiming")
        try:
            ended, _ = await asyncio.wait({claiming, settling, senders.broken}, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        finally:
            # a task of its own: in one that was cancelled, timeouts do not do what they say on Python 3.11.2
            finishing = asyncio.create_task(self._finish(settler, senders, claiming, settling))
            await asyncio.wait({finishing})
            finishing.result()

    async def _finish(
        self, settler: Settler, senders: Senders, claiming: "asyncio.Task[None]", settling: "asyncio.Task[None]"
    ) -> None:
        # Asked to end rather than cancelled: what a cancelled claim took nobody would send before its lease ends.
        self._is_stopping = True
        self._wake.set()
        settler.progress.set()
        grace_seconds = self._settings.stop_grace_seconds * STOP_SHARE
        stopping = asyncio.create_task(senders.finish(grace_seconds))
        await asyncio.wait({claiming}, timeout=grace_seconds)
        await asyncio.wait({stopping})
        await senders.finish(0)  # what was claimed meanwhile
        settler.close()
        await asyncio.wait({claiming, settling}, timeout=grace_seconds / 2)
        for one in (claiming, settling):
            one.cancel()
        await asyncio.wait({claiming, settling})
        try:
            async with asyncio.timeout(grace_seconds / 2):
                await settler.write_all()
        except PERHAPS_AWAY as error:
            if not is_unavailable(error):
                raise
            log.warning("deliveries_left_to_their_leases", worker=self.name, reason=type(error).__name__)
        stopping.result()

    async def _claim_for_ever(self, settler: Settler, senders: Senders) -> None:
        away = Backoff(ceiling_seconds=AWAY_SECONDS_MAX)
        poll_seconds = POLL_FIRST_SECONDS
        while await self._has_room(settler):
            self._wake.clear()
            try:
                taken = await self._claim(settler, senders)
            except PERHAPS_AWAY as error:
                raise_if_cancelled()
                if not is_unavailable(error):
                    raise
                log.warning("deliveries_wait", worker=self.name, reason=str(error) or type(error).__name__)
                await away.wait()
                continue
            away.reset()
            if taken:
                poll_seconds = POLL_FIRST_SECONDS
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(min(poll_seconds, self._poll_seconds_max)):
                    await self._wake.wait()
            poll_seconds = min(poll_seconds * 1.5, self._poll_seconds_max)

    async def _has_room(self, settler: Settler) -> bool:
        """Wait until more can be held; False: stop."""
        while not self._is_stopping:
            if self._claimed - settler.settled <= self._batch_max * (HELD_BATCHES_MAX - 1):
                return True
            settler.progress.clear()
            await settler.progress.wait()
        return False

    async def _claim(self, settler: Settler, senders: Senders) -> int:
        """Take what is due, and have it sent; how many there were."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._pauses_read_at > PAUSES_READ_SECONDS:
            await self._read_pauses(senders)
        lease, lease_seconds = uuid4(), self._settings.notify_delivery_lease_seconds
        start_by = loop.time() + lease_seconds - self._settings.notify_delivery_send_seconds_max - SETTLE_SECONDS
        claimed = await store.claim(
            self._pool,
            self._channel.name,
            self._lane,
            rows_max=self._batch_max,
            lease=lease,
            lease_seconds=lease_seconds,
            rooms=senders.rooms(),
        )
        self._claimed += len(claimed)
        self._note_age(claimed)
        decided = [Result(Leased(one.delivery, lease, start_by), one.fate) for one in claimed if one.fate]
        settler.note(decided)
        wanted = [Leased(one.delivery, lease, start_by) for one in claimed if not one.fate]
        if wanted:
            await self._prepare(wanted, settler, senders)
        return len(claimed)

    async def _prepare(self, wanted: Sequence[Leased], settler: Settler, senders: Senders) -> None:
        try:
            prepared = await attempts.prepare(self._channel, [one.delivery for one in wanted])
        except BaseException:
            settler.note([Result(one, None) for one in wanted])
            raise
        ready = []
        for one in wanted:
            found = prepared[one.delivery.delivery_id]
            if isinstance(found, Outcome):
                settler.note([Result(one, found)])
            elif self._is_stopping or senders.is_paused(one.delivery.provider):
                settler.note([Result(one, None)])
            else:
                one.sending = found
                ready.append(one)
        senders.send(ready)

    async def _read_pauses(self, senders: Senders) -> None:
        pauses = await store.list_pauses(self._pool, self._channel.name)
        senders.heard(pauses)
        metrics.providers_paused.labels(self._labels[0]).set(sum(one.seconds > 0 for one in pauses))
        self._pauses_read_at = asyncio.get_running_loop().time()

    def _note_age(self, claimed: Sequence[Claimed]) -> None:
        queued = [one.delivery.created_at for one in claimed if not one.delivery.attempts]
        age_seconds = (datetime.now(UTC) - min(queued)).total_seconds() if queued else 0.0
        metrics.queue_age_seconds.labels(*self._labels).set(max(age_seconds, 0.0))
