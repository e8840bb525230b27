"""The fan-out: a stream's followers are told in pages that any number of workers share, each follower once.

A stream's start makes one fan-out row and a plan: ranges of follower ids that together hold every possible id, about
`page_followers_max` followers in each. A page is one event, one transaction, one set-based statement. Because a page is
a range and not a count, somebody who follows or unfollows meanwhile moves nobody else into or out of it. Plans of large
channels go on in steps: the page that ends a step plans the next one, so neither a transaction nor the topic fills up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from uuid import UUID

import structlog

from eventbus.outbox import Transaction
from events import Envelope, FanoutPagePlanned, StreamStarted
from notify import fanout_store, metrics, store
from notify.announcer import Announcer
from notify.fanout_store import Boundary, Fanout
from notify.notices import Notice, page_notice, stream_notice
from notify.store import FIRST_USER_ID, LAST_USER_ID

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """The next pages of a plan, as the last follower id of each, and whether the plan ends with them."""

    page_ends: Sequence[UUID]
    is_last: bool


def plan_step(boundaries: Sequence[Boundary], *, page_followers: int, pages_max: int, is_first: bool) -> Step:
    """Cut the next pages from what `find_page_boundaries` found among `page_followers * pages_max + 1` candidates.

    One candidate more than fits says that the plan goes on. The plan's last page is open-ended, so that the ranges
    leave out no id: a follow that was made before the start and committed after the plan still is in one of them.
    """
    candidates = boundaries[-1].position if boundaries else 0
    if candidates > page_followers * pages_max:
        full = [boundary.follower_id for boundary in boundaries if boundary.position % page_followers == 0]
        return Step(full[:pages_max], is_last=False)
    if candidates == 0:
        # behind an earlier step the rest of the ids still needs its page; a channel without followers needs none
        return Step([] if is_first else [LAST_USER_ID], is_last=True)
    return Step([*(boundary.follower_id for boundary in boundaries[:-1]), LAST_USER_ID], is_last=True)


class Fanouts:
    """Begins fan-outs, tells pages, and says the notice to whoever is connected."""

    def __init__(self, announcer: Announcer, *, page_followers_max: int, plan_pages_max: int) -> None:
        self._announcer = announcer
        self._page_followers = page_followers_max
        self._plan_pages = plan_pages_max

    async def announce_live(self, _: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """Tell the connected followers. It waits for nothing that the inboxes need, and they wait for nothing of it."""
        await self._announcer.announce(stream_notice(envelope.event))

    async def begin(self, transaction: Transaction, envelope: Envelope[StreamStarted]) -> None:
        """Begin the fan-out of a stream and plan its first pages; a stream that was begun before changes nothing."""
        notice = stream_notice(envelope.event)
        await store.keep_channel(transaction.connection, notice.channel_id, notice.channel_name)
        if not await fanout_store.insert_fanout(transaction.connection, notice):
            log.info("fanout_known", stream_id=str(notice.stream_id))
            return
        pages = await self._plan(transaction, notice, after=None, pages_planned=0)
        metrics.fanouts_begun.inc()
        log.info("fanout_begun", stream_id=str(notice.stream_id), channel_id=str(notice.channel_id), pages=pages)

    async def tell_page(self, transaction: Transaction, envelope: Envelope[FanoutPagePlanned]) -> None:
        """Write the inbox rows of a page; a page that was told before changes nothing."""
        started = perf_counter()
        page, connection = envelope.event, transaction.connection
        if not await fanout_store.claim_page(connection, page.fanout_id, page.page_number):
            return
        notice = page_notice(page)
        after = page.after_follower_id or FIRST_USER_ID
        recipients = await fanout_store.write_notices(connection, notice, after=after, last=page.last_follower_id)
        fanout = await fanout_store.count_page_done(connection, page.fanout_id, page.page_number, recipients=recipients)
        if fanout.planned_at is None and fanout.planned_through == page.last_follower_id:
            await self._plan(transaction, notice, after=page.last_follower_id, pages_planned=fanout.pages_planned)
        if fanout.completed_at is not None:
            _note_completed(fanout, fanout.completed_at)
            await self._announcer.announce_stored(notice)
        metrics.notices_written.inc(recipients)
        metrics.page_seconds.observe(perf_counter() - started)

    async def _plan(self, transaction: Transaction, notice: Notice, *, after: UUID | None, pages_planned: int) -> int:
        boundaries = await fanout_store.find_page_boundaries(
            transaction.connection,
            notice,
            after=after or FIRST_USER_ID,
            page_followers=self._page_followers,
            followers_max=self._page_followers * self._plan_pages + 1,
        )
        step = plan_step(
            boundaries, page_followers=self._page_followers, pages_max=self._plan_pages, is_first=after is None
        )
        await transaction.say(*_pages(notice, step.page_ends, after=after, pages_planned=pages_planned))
        await fanout_store.advance_plan(
            transaction.connection,
            notice.notification_id,
            pages=len(step.page_ends),
            planned_through=step.page_ends[-1] if step.page_ends else None,
            is_last=step.is_last,
        )
        return len(step.page_ends)


def _pages(
    notice: Notice, page_ends: Sequence[UUID], *, after: UUID | None, pages_planned: int
) -> list[FanoutPagePlanned]:
    starts = [after, *page_ends[:-1]]
    return [
        FanoutPagePlanned(
            notice_id=notice.notification_id,
            kind=notice.kind,
            stream_id=notice.stream_id,
            channel_id=notice.channel_id,
            channel_name=notice.channel_name,
            title=notice.title,
            category=notice.category,
            started_at=notice.created_at,
            page_number=number,
            after_follower_id=start,
            last_follower_id=end,
        )
        for number, (start, end) in enumerate(zip(starts, page_ends, strict=False), pages_planned + 1)
    ]


def _note_completed(fanout: Fanout, completed_at: datetime) -> None:
    seconds = (completed_at - fanout.created_at).total_seconds()
    metrics.fanout_seconds.observe(seconds)
    log.info(
        "fanout_completed",
        stream_id=str(fanout.stream_id),
        pages=fanout.pages_done,
        recipients=fanout.recipients,
        seconds=round(seconds, 3),
        heard_after_start_seconds=round((fanout.created_at - fanout.started_at.astimezone(UTC)).total_seconds(), 3),
    )
