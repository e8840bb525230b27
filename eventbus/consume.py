"""The consume loop: a group's partitions, each applied in order, committed after the work, watched for standstill.

Pattern: one task fetches for all partitions into bounded buffers; a worker per partition applies batches, each in one
transaction with its inbox rows; one task commits what is applied. A rebalance waits, bounded, for the batch in hand,
commits it and lets go.

Invariants: an offset is committed only after every message below it was applied, skipped or set aside (and the setting
aside acknowledged); within a partition no message overtakes another; effects happen once however often a message comes.

What it does not do: run long work (make it a leased row), or order messages across partitions.
"""

import asyncio
import time
from collections.abc import Iterable

import structlog

from eventbus import metrics
from eventbus.bus import BusError, BusUnavailable, Consumer, EventBus, Partition
from eventbus.inbox import Inbox, PostgresInbox
from eventbus.outbox import Outbox
from eventbus.partition_worker import PartitionWorker
from eventbus.subscription import Handler, HandlingError, Subscription, Transient, Unprocessable
from runtime.backoff import Backoff
from runtime.cancellation import raise_if_cancelled
from runtime.health import Health

__all__ = ["ConsumeLoop", "ConsumerStuck", "Handler", "HandlingError", "Subscription", "Transient", "Unprocessable"]

log = structlog.get_logger(__name__)

FETCH_TIMEOUT_SECONDS = 0.5
COMMIT_INTERVAL_SECONDS = 0.2
COMMIT_RETRY_SECONDS = 2.0
WATCH_INTERVAL_SECONDS = 5.0
STUCK_AFTER_SECONDS = 60.0
REVOKE_GRACE_SECONDS = 5.0
STOP_GRACE_SECONDS = 3.0
CANCEL_SECONDS_MAX = 2.0
LAST_COMMIT_SECONDS_MAX = 2.5
"""A little more than either bus takes, or a bus that does not answer could hold up a rebalance, or the end."""

REOPEN_FIRST_SECONDS = 0.2
REOPEN_CEILING_SECONDS = 5.0


class ConsumerStuck(Exception):
    """Messages wait and nothing moved for too long for no known reason; a new process is the remedy.

    Attributes: ``group``, ``partition``, ``waiting_messages``, ``silent_seconds``.
    """

    def __init__(self, group: str, partition: Partition, waiting_messages: int, silent_seconds: float) -> None:
        super().__init__(
            f"{group}: {waiting_messages} messages of {partition.topic}/{partition.number} wait"
            f" and nothing moved for {silent_seconds:.0f} s"
        )
        self.group = group
        self.partition = partition
        self.waiting_messages = waiting_messages
        self.silent_seconds = silent_seconds


class ConsumeLoop:
    """A member of a consumer group. A service."""

    def __init__(
        self,
        bus: EventBus,
        outbox: Outbox | Inbox,
        subscription: Subscription,
        *,
        health: Health | None = None,
        stuck_after_seconds: float = STUCK_AFTER_SECONDS,
    ) -> None:
        """``outbox`` is where effects and what handlers say go; tests may give an inbox of their own instead."""
        self._bus = bus
        self._inbox: Inbox = PostgresInbox(outbox) if isinstance(outbox, Outbox) else outbox
        self._subscription = subscription
        self._group = subscription.group
        self._stuck_after_seconds = stuck_after_seconds
        self._watch_interval_seconds = min(WATCH_INTERVAL_SECONDS, stuck_after_seconds / 4)
        self._workers: dict[Partition, PartitionWorker] = {}
        self._consumer: Consumer | None = None
        self._failed: asyncio.Future[None] | None = None
        self._trouble: str | None = "not connected yet"
        if health is not None:
            health.watch(self.name, self.check)

    @property
    def name(self) -> str:
        """What logs and readiness call this loop."""
        return f"consume-{self._group}"

    @property
    def partitions(self) -> frozenset[Partition]:
        """What this member works on at the moment."""
        return frozenset(self._workers)

    def check(self) -> None:
        """Raise with the reason while messages cannot be applied."""
        if self._trouble is not None:
            raise BusUnavailable(self._trouble)
        for worker in self._workers.values():
            if worker.reason is not None:
                raise BusUnavailable(f"{worker.partition.topic}/{worker.partition.number}: {worker.reason}")

    async def run(self) -> None:
        """Consume until cancelled; an away broker is waited for without end. Raises ConsumerStuck."""
        backoff = Backoff(REOPEN_FIRST_SECONDS, REOPEN_CEILING_SECONDS)
        while True:
            try:
                await self._consume(backoff)
            except BusUnavailable as error:
                self._trouble = f"the bus is away: {error}"
                log.warning("consume_lost_bus", group=self._group, reason=str(error), attempts=backoff.attempts)
            raise_if_cancelled()
            await backoff.wait()

    async def _consume(self, backoff: Backoff) -> None:
        failed = self._failed = asyncio.get_running_loop().create_future()
        async with self._bus.consumer(self._group, self._subscription.topics, self) as consumer:
            self._consumer = consumer
            log.info("consume_joined", group=self._group, topics=self._subscription.topics)
            tasks = [
                asyncio.create_task(self._fetch(consumer, backoff), name="fetch"),
                asyncio.create_task(self._commit(consumer), name="commit"),
                asyncio.create_task(self._watch(consumer), name="watch"),
            ]
            try:
                ended, _ = await asyncio.wait({*tasks, failed}, return_when=asyncio.FIRST_COMPLETED)
                for one in ended:
                    one.result()
            finally:
                self._consumer = None
                await self._finish(consumer, tasks)

    async def _finish(self, consumer: Consumer, tasks: Iterable["asyncio.Task[None]"]) -> None:
        """Stop fetching, let the batches in hand end, commit them; bounded, whatever does not answer."""
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=CANCEL_SECONDS_MAX)
        if left:
            log.warning("consume_tasks_left", group=self._group, tasks=sorted(task.get_name() for task in left))
        workers, self._workers = list(self._workers.values()), {}
        await self._release(consumer, workers, STOP_GRACE_SECONDS)

    async def _fetch(self, consumer: Consumer, backoff: Backoff) -> None:
        while True:
            fetched = await consumer.fetch(timeout_seconds=FETCH_TIMEOUT_SECONDS)
            for partition, messages in fetched.items():
                worker = self._workers.get(partition)
                if worker is not None and worker.offer(messages):
                    consumer.pause(partition)
            if fetched:
                self._trouble = None
                backoff.reset()
                # Workers get their turn even when the next fetch is in the client already.
                await asyncio.sleep(0)

    async def _commit(self, consumer: Consumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_SECONDS)
            if not await self._commit_due(consumer, list(self._workers.values())):
                await asyncio.sleep(COMMIT_RETRY_SECONDS)

    async def _commit_due(self, consumer: Consumer, workers: Iterable[PartitionWorker]) -> bool:
        """Commit what is applied; False if that failed."""
        due = {
            worker: worker.next_offset
            for worker in workers
            if worker.next_offset is not None and worker.next_offset != worker.committed_offset
        }
        if not due:
            return True
        try:
            await consumer.commit({worker.partition: offset for worker, offset in due.items()})
        except BusError as error:
            # The work is done and remembered in the inbox; what is delivered again will be recognised.
            log.warning("consume_commit_failed", group=self._group, reason=str(error))
            return False
        for worker, offset in due.items():
            worker.committed_offset = offset
        return True

    async def _watch(self, consumer: Consumer) -> None:
        """Measure the lag, and give up when messages wait and nothing moves."""
        while True:
            try:
                unread = await consumer.unread()
                self._trouble = None
            except BusUnavailable as error:
                unread = {}
                self._trouble = f"the bus is away: {error}"
                log.warning("consume_bus_silent", group=self._group, reason=str(error))
            now = time.monotonic()
            for partition, worker in list(self._workers.items()):
                waiting = worker.waiting_messages + unread.get(partition, 0)
                metrics.lag_messages.labels(self._group, partition.topic, partition.number).set(waiting)
                if waiting == 0 or worker.reason is not None:
                    worker.progress_at = now
                elif now - worker.progress_at > self._stuck_after_seconds:
                    self._trouble = "messages wait and nothing moves"
                    raise ConsumerStuck(self._group, partition, waiting, now - worker.progress_at)
            await asyncio.sleep(self._watch_interval_seconds)

    async def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """Start a worker for each new partition."""
        for partition in partitions - self._workers.keys():
            worker = PartitionWorker(partition, self._subscription, self._inbox, self._bus, wants_more=self._resume)
            self._workers[partition] = worker
            worker.start(self._fail)
        log.info("consume_assigned", group=self._group, partitions=sorted(map(tuple, partitions)))

    async def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Let the batches in hand end, commit them, forget the rest."""
        workers = [self._workers.pop(partition) for partition in partitions if partition in self._workers]
        await self._release(self._consumer, workers, REVOKE_GRACE_SECONDS)
        for partition in partitions:
            metrics.lag_messages.remove(self._group, partition.topic, str(partition.number))
        log.info("consume_revoked", group=self._group, partitions=sorted(map(tuple, partitions)))

    async def _release(self, consumer: Consumer | None, workers: list[PartitionWorker], grace_seconds: float) -> None:
        await asyncio.gather(*(worker.stop(grace_seconds) for worker in workers))
        if consumer is None:
            return
        # A task of its own, since ours may have been cancelled: it must learn how its commit ends.
        committing = asyncio.create_task(self._commit_due(consumer, workers))
        try:
            await asyncio.wait({committing}, timeout=LAST_COMMIT_SECONDS_MAX)
            if committing.done():
                committing.result()
            else:
                log.warning("consume_commit_failed", group=self._group, reason="the bus does not answer")
        finally:
            committing.cancel()

    def _resume(self, partition: Partition) -> None:
        if self._consumer is not None:
            self._consumer.resume(partition)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
