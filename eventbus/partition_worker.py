"""Applies the messages of one partition in order: a batch in one transaction, one by one once something fails."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from eventbus import metrics
from eventbus.bus import Message, Partition, Publisher, RecordRefused
from eventbus.dead_letters import dead_letter_record
from eventbus.delivery import Delivery, Item, Reader, SetAside, Skip
from eventbus.failures import FailureKind, failure_kind
from eventbus.inbox import Inbox
from eventbus.subscription import HandlerTooSlow, Subscription
from runtime.backoff import Backoff
from runtime.trace import trace_scope

log = structlog.get_logger(__name__)

BUFFER_MESSAGES_MAX = 2_000
"""From here on the partition is paused; one more fetch may be on its way. Resumed at half of it."""

BATCH_TIME_FACTOR = 3
CANCEL_SECONDS_MAX = 1.5


class _StopAsked(Exception):
    """The worker is to stop, and what it has in hand has not been applied."""


class PartitionWorker:
    """Owns one partition's buffer for as long as the partition is ours."""

    def __init__(
        self,
        partition: Partition,
        subscription: Subscription,
        inbox: Inbox,
        publisher: Publisher,
        *,
        wants_more: Callable[[Partition], None],
    ) -> None:
        self.partition = partition
        self.next_offset: int | None = None
        """The offset to commit: everything below it is applied, skipped or set aside. None: nothing yet."""
        self.committed_offset: int | None = None
        self.reason: str | None = None
        """Why it is waiting, while it is."""
        self.progress_at = time.monotonic()
        self._subscription = subscription
        self._group = subscription.group
        self._reader = Reader(subscription)
        self._inbox = inbox
        self._publisher = publisher
        self._wants_more = wants_more
        self._buffer: deque[Message] = deque()
        self._in_hand = 0
        self._paused = False
        self._filled = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting_messages(self) -> int:
        """Fetched and not yet applied."""
        return len(self._buffer) + self._in_hand

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Begin to work; an exception that no message is to blame for goes to ``on_failure``."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                on_failure(error)

        self._task = asyncio.create_task(
            self._run(), name=f"{self._group}-{self.partition.topic}-{self.partition.number}"
        )
        self._task.add_done_callback(ended)

    def offer(self, messages: Sequence[Message]) -> bool:
        """Take messages into the buffer; True if the partition is to be paused."""
        self._buffer.extend(messages)
        self._filled.set()
        self._paused = len(self._buffer) >= BUFFER_MESSAGES_MAX
        return self._paused

    async def stop(self, grace_seconds: float) -> None:
        """Finish the batch in hand within ``grace_seconds``, or roll it back."""
        self._stop_asked.set()
        self._filled.set()
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=grace_seconds)
        if not self._task.done():
            log.warning("consume_batch_cut_off", group=self._group, **self.partition._asdict())
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_SECONDS_MAX)

    async def _run(self) -> None:
        structlog.contextvars.bind_contextvars(group=self._group, partition=self.partition.number)
        while not self._stop_asked.is_set():
            if not self._buffer:
                self._filled.clear()
                await self._filled.wait()
                continue
            batch = self._take()
            started = time.monotonic()
            try:
                await self._apply([self._reader.read(message) for message in batch])
            except _StopAsked:
                return
            finally:
                self._in_hand = 0
            metrics.batch_seconds.labels(self._group).observe(time.monotonic() - started)

    def _take(self) -> list[Message]:
        self._in_hand = min(len(self._buffer), self._subscription.batch_messages_max)
        batch = [self._buffer.popleft() for _ in range(self._in_hand)]
        if self._paused and len(self._buffer) <= BUFFER_MESSAGES_MAX // 2:
            self._paused = False
            self._wants_more(self.partition)
        return batch

    async def _apply(self, items: Sequence[Item]) -> None:
        backoff = self._backoff()
        while True:
            try:
                await self._attempt(items)
                break
            except Exception as error:  # noqa: BLE001  the loop decides about every error
                kind = self._note(error)
                if kind is not FailureKind.OUTAGE:
                    await self._apply_one_by_one(items)
                    return
                await self._wait_out(error, backoff)
        self._advance(items[-1].message)

    async def _apply_one_by_one(self, items: Sequence[Item]) -> None:
        for item in items:
            if self._stop_asked.is_set():
                raise _StopAsked
            await self._apply_one(item)
            self._advance(item.message)
            self._in_hand -= 1

    async def _apply_one(self, item: Item) -> None:
        backoff = self._backoff()
        attempts = 0
        while True:
            try:
                await self._attempt([item])
                return
            except Exception as error:  # noqa: BLE001  the loop decides about every error
                kind = self._note(error)
                if kind is FailureKind.OUTAGE:
                    await self._wait_out(error, backoff)
                    continue
                attempts += 1
                if attempts >= self._attempts_max(kind):
                    item = SetAside(item.message, error, attempts)
                    continue
                log.warning("consume_attempt_failed", attempt=attempts, kind=kind, error=repr(error), **_place(item))
                await self._pause_for(backoff.next_seconds())

    def _attempts_max(self, kind: FailureKind) -> int:
        match kind:
            case FailureKind.UNPROCESSABLE:
                return 1
            case FailureKind.TRANSIENT:
                return self._subscription.transient_attempts_max
            case _:
                return self._subscription.attempts_max

    async def _attempt(self, items: Sequence[Item]) -> None:
        """Apply all of ``items`` or none: effects first, then what is set aside (twice, if its publishing fails)."""
        deliveries = [item for item in items if isinstance(item, Delivery)]
        outcomes = Counter(skipped=sum(isinstance(item, Skip) for item in items))
        if deliveries:
            handled = await self._handle(deliveries)
            outcomes["handled"] = handled
            outcomes["duplicate"] = len(deliveries) - handled
        for item in items:
            if isinstance(item, SetAside):
                await self._set_aside(item)
                outcomes["dead"] += 1
        for outcome, count in outcomes.items():
            if count:
                metrics.messages_consumed.labels(self._group, outcome).inc(count)

    async def _handle(self, deliveries: Sequence[Delivery]) -> int:
        seconds_max = self._subscription.handler_seconds_max * (1 if len(deliveries) == 1 else BATCH_TIME_FACTOR)
        handled = 0
        async with self._inbox.claim(self._group, [delivery.envelope.id for delivery in deliveries]) as claim:
            try:
                async with asyncio.timeout(seconds_max) as limit:
                    for delivery in deliveries:
                        envelope = delivery.envelope
                        if envelope.id not in claim.fresh:
                            continue
                        claim.fresh.discard(envelope.id)  # the same message may come twice in one batch
                        with trace_scope(envelope.traceparent):
                            await delivery.handler(claim.transaction, envelope)
                        handled += 1
            except TimeoutError as error:
                if limit.expired():
                    raise HandlerTooSlow(f"not done within {seconds_max:g} s") from error
                raise
        return handled

    async def _set_aside(self, item: SetAside) -> None:
        now = datetime.now(UTC)

        letter = dead_letter_record(item.message, group=self._group, error=item.error, attempts=item.attempts, at=now)
        try:
            await self._publisher.publish([letter])
        except RecordRefused:
            # Origin and headers say where the value still is; without this the partition would never move on.
            letter = dead_letter_record(
                item.message, group=self._group, error=item.error, attempts=item.attempts, at=now, with_value=False
            )
            await self._publisher.publish([letter])
        log.error("message_set_aside", attempts=item.attempts, error=repr(item.error)[:500], **_place(item))

    def _advance(self, message: Message) -> None:
        self.next_offset = message.offset + 1
        self.progress_at = time.monotonic()
        self.reason = None

    def _backoff(self) -> Backoff:
        return Backoff(self._subscription.retry_first_seconds, self._subscription.retry_ceiling_seconds)

    def _note(self, error: Exception) -> FailureKind:
        kind = failure_kind(error)
        metrics.failures.labels(self._group, kind).inc()
        return kind

    async def _wait_out(self, error: Exception, backoff: Backoff) -> None:
        self.reason = f"a dependency is away: {str(error) or type(error).__name__}"
        log.warning(
            "consume_waits_for_dependency", error=repr(error), attempts=backoff.attempts, topic=self.partition.topic
        )
        await self._pause_for(backoff.next_seconds())

    async def _pause_for(self, seconds: float) -> None:
        self.reason = self.reason or "trying a message again"
        try:
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()
        except TimeoutError:
            return
        raise _StopAsked


def _place(item: Item) -> dict[str, object]:
    facts: dict[str, object] = {"topic": item.message.topic, "offset": item.message.offset}
    if isinstance(item, Delivery):
        facts |= {"event_id": str(item.envelope.id), "event_type": item.envelope.event.type}
    return facts
