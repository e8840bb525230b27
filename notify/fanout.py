"""The fan-out: followers are told in pages that any number of workers share, each follower once.

A fan-out is admitted once, by whichever lane hears of its cause first. Its plan makes ranges of follower ids that
together hold every possible id, about `page_followers` followers in each. A page is one event, one transaction, one
call of the database. Because a page is a range and not a count, somebody who follows or unfollows meanwhile moves
nobody else into or out of it. No more than a window of pages is outstanding: the page that frees half of it plans on.
So no transaction and no topic fills up, and whoever has few followers waits behind no more than a window of others'.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from time import perf_counter
from typing import Protocol
from uuid import UUID

import structlog

from eventbus.outbox import Transaction
from events import (
    Envelope,
    FanoutPagePlanned,
    RecordingPublished,
    StreamEnded,
    StreamStarted,
    StreamUpdated,
    Visibility,
)
from notify import fanout_store, metrics, store
from notify.fanout_store import Admission, Fanout, FanoutState, HeldPage, Limits, Step, Verdict
from notify.notices import Notice, published_notice, recording_notice, stream_notice
from runtime.postgres import Pool

log = structlog.get_logger(__name__)


class Announces(Protocol):
    """Says notices to whoever is connected (`Announcer`)."""

    async def announce(self, notice: Notice) -> None:
        """Tell them now."""
        ...

    async def announce_stored(self, notice: Notice) -> None:
        """Tell those whom the first telling did not reach."""
        ...


class Fanouts:
    """Admits and begins fan-outs, tells pages, and says the notice to whoever is connected."""

    def __init__(
        self, pool: Pool, announcer: Announces, limits: Limits, *, queued: Callable[[], None] = lambda: None
    ) -> None:
        """`pool` is for admissions alone: a handler that has a connection already waits for another one there.

        `queued` is called after the commit of a page that has queued deliveries.
        """
        self._queued = queued
        self._pool = pool
        self._announcer = announcer
        self._limits = limits

    async def announce_live(self, _: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """Tell the connected followers that a public stream started. Neither lane waits for the other."""
        if envelope.event.visibility is Visibility.PUBLIC:
            await self._announce(stream_notice(envelope.event))

    async def announce_published_live(self, transaction: Transaction, envelope: Envelope[StreamUpdated]) -> None:
        """Tell the connected followers of a stream that began hidden and is public now."""
        if _is_published(envelope.event):
            await self._announce(await self._published_notice(transaction, envelope.event))

    async def announce_recording_live(self, transaction: Transaction, envelope: Envelope[RecordingPublished]) -> None:
        """Tell those connected followers who want to hear of recordings, of what is public and no clip."""
        if not _is_told_of(envelope.event):
            return
        await self._announce(await self._recording_notice(transaction, envelope.event))

    async def begin(self, transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """Begin the fan-out of a public stream; one that was begun before, or is not to be told, changes nothing."""
        notice = stream_notice(envelope.event)
        await store.keep_channel(transaction.connection, notice.channel_id, notice.channel_name)
        if envelope.event.visibility is Visibility.PUBLIC:
            await self._begin(transaction, notice)

    async def begin_published(self, transaction: Transaction, envelope: Envelope[StreamUpdated]) -> None:
        """Begin the fan-out of a stream that began hidden and is public now; of one that was told, nothing."""
        if _is_published(envelope.event):
            await self._begin(transaction, await self._published_notice(transaction, envelope.event))

    async def begin_recording(self, transaction: Transaction, envelope: Envelope[RecordingPublished]) -> None:
        """Begin to tell of a recording those who want to hear of recordings, if it is public and no clip."""
        if not _is_told_of(envelope.event):
            return
        await self._begin(transaction, await self._recording_notice(transaction, envelope.event))

    async def end(self, transaction: Transaction, envelope: Envelope[StreamEnded]) -> None:
        """Stop telling that a stream started: it is over."""
        for fanout_id in await fanout_store.end_fanouts(transaction.connection, envelope.event.stream_id):
            log.info("fanout_ended", fanout_id=str(fanout_id))

    async def tell_page(self, transaction: Transaction, envelope: Envelope[FanoutPagePlanned]) -> None:
        """Tell a page; one that was told before, or whose fan-out has stopped, changes nothing."""
        started = perf_counter()
        page, connection = envelope.event, transaction.connection
        told = await fanout_store.tell_page(
            connection,
            page.fanout_id,
            page.page_number,
            after=page.after_follower_id,
            last=page.last_follower_id,
            limits=self._limits,
        )
        metrics.pages.labels(told.verdict).inc()
        if told.verdict is Verdict.HELD:
            log.info("fanout_page_held", fanout_id=str(page.fanout_id), page=page.page_number)
        if told.step is None:
            return
        if told.has_queued:
            transaction.after_commit(self._queued)
        await transaction.say(*(_page_after(page, *planned) for planned in _pages(told.step)))
        if told.step.is_complete:
            await self._complete(transaction, page.fanout_id)
        metrics.notices_written.inc(told.recipients)
        metrics.page_seconds.observe(perf_counter() - started)

    async def go_on(self, transaction: Transaction, fanout: Fanout, held: Sequence[HeldPage]) -> None:
        """Go on with a fan-out that was paused: its held pages are said again, and the plan goes on."""
        again = [(page.page_number, page.after_follower_id, page.last_follower_id) for page in held]
        await transaction.say(*(_page(fanout.notice, *planned) for planned in again))
        step = await fanout_store.go_on(transaction.connection, fanout.fanout_id, self._limits)
        await self._say(transaction, fanout.notice, step)

    async def _announce(self, notice: Notice) -> None:
        admission = await self._admit(notice, is_live=True)
        if admission.announces:
            await self._announcer.announce(notice)

    async def _begin(self, transaction: Transaction, notice: Notice) -> None:
        state = await fanout_store.find_state(transaction.connection, notice.notification_id)
        if (state or (await self._admit(notice, is_live=False)).state) is not FanoutState.RUNNING:
            return
        step = await fanout_store.begin(transaction.connection, notice.notification_id, self._limits)
        if step is None:
            log.info("fanout_known", fanout_id=str(notice.notification_id))
            return
        await self._say(transaction, notice, step)
        metrics.fanouts_begun.inc()
        log.info(
            "fanout_begun",
            fanout_id=str(notice.notification_id),
            kind=notice.kind,
            channel_id=str(notice.channel_id),
            pages=len(step.page_ends),
        )

    async def _admit(self, notice: Notice, *, is_live: bool) -> Admission:
        admission = await fanout_store.admit(self._pool, notice, self._limits, is_live=is_live)
        if admission.is_new and admission.suppressed_because is not None:
            metrics.fanouts_suppressed.labels(admission.suppressed_because).inc()
            log.info(
                "fanout_suppressed",
                fanout_id=str(notice.notification_id),
                channel_id=str(notice.channel_id),
                because=admission.suppressed_because,
            )
        return admission

    async def _published_notice(self, transaction: Transaction, event: StreamUpdated) -> Notice:
        return published_notice(event, await store.find_username(transaction.connection, event.channel_id) or "")

    async def _recording_notice(self, transaction: Transaction, event: RecordingPublished) -> Notice:
        """Named as its stream was; a stream that notify never heard of has no title."""
        connection = transaction.connection
        stream = await fanout_store.find_fanout(connection, event.stream_id)
        if stream is not None:
            return recording_notice(event, stream.channel_name, stream.title, stream.category)
        return recording_notice(event, await store.find_username(connection, event.channel_id) or "", "", None)

    async def _say(self, transaction: Transaction, notice: Notice, step: Step) -> None:
        await transaction.say(*(_page(notice, *planned) for planned in _pages(step)))
        if step.is_complete:
            await self._complete(transaction, notice.notification_id)

    async def _complete(self, transaction: Transaction, fanout_id: UUID) -> None:
        fanout = await fanout_store.find_fanout(transaction.connection, fanout_id)
        if fanout is not None and fanout.completed_at is not None:
            _note_completed(fanout, fanout.completed_at)
            await self._announcer.announce_stored(fanout.notice)


def _is_published(event: StreamUpdated) -> bool:
    return event.visibility is Visibility.PUBLIC and event.visibility_before is not None


def _is_told_of(event: RecordingPublished) -> bool:
    """Not of what is hidden; and a clip was seen before, in the recording that it was cut from."""
    return event.clip_of is None and event.visibility is Visibility.PUBLIC


def _pages(step: Step) -> list[tuple[int, UUID | None, UUID]]:
    """The number and the range of each page of a step."""
    starts = [step.page_after, *step.page_ends[:-1]]
    return [
        (number, start, end)
        for number, (start, end) in enumerate(zip(starts, step.page_ends, strict=False), step.pages_before + 1)
    ]


def _page(notice: Notice, number: int, after: UUID | None, last: UUID) -> FanoutPagePlanned:
    return FanoutPagePlanned(
        notice_id=notice.notification_id,
        kind=notice.kind,
        stream_id=notice.stream_id,
        channel_id=notice.channel_id,
        channel_name=notice.channel_name,
        title=notice.title,
        category=notice.category,
        started_at=notice.created_at,
        page_number=number,
        after_follower_id=after,
        last_follower_id=last,
    )


def _page_after(page: FanoutPagePlanned, number: int, after: UUID | None, last: UUID) -> FanoutPagePlanned:
    """Another page of the same fan-out."""
    return page.model_copy(update={"page_number": number, "after_follower_id": after, "last_follower_id": last})


def _note_completed(fanout: Fanout, completed_at: datetime) -> None:
    seconds = (completed_at - fanout.created_at).total_seconds()
    metrics.fanout_seconds.observe(seconds)
    log.info(
        "fanout_completed",
        fanout_id=str(fanout.fanout_id),
        kind=fanout.kind,
        pages=fanout.pages_done,
        recipients=fanout.recipients,
        seconds=round(seconds, 3),
        heard_after_start_seconds=round((fanout.created_at - fanout.started_at).total_seconds(), 3),
    )
