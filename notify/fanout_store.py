"""The fan-outs' tables as the objects that the rest of notify speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from notify.notices import Notice, NoticeKind
from notify.store import queries
from runtime.postgres import Connection, Pool
from runtime.queries import Answer


class FanoutState(StrEnum):
    """How it stands with a fan-out. The last four are for good."""

    RUNNING = "running"
    PAUSED = "paused"
    """By the streamer, until they resume it."""
    COMPLETED = "completed"
    SUPPRESSED = "suppressed"
    """Nobody is told: another stream of the channel was told of too recently, or too many were within a day."""
    CANCELLED = "cancelled"
    """By the streamer: who was not told by then is not."""
    ENDED = "ended"
    """The stream was over before everybody was told."""


Suppressed = Literal["cool-down", "daily-limit"]


class Verdict(StrEnum):
    """What came of a page."""

    TOLD = "told"
    KNOWN = "known"
    """It was told before."""
    HELD = "held"
    """The fan-out is paused; the page is said again when it resumes."""
    STOPPED = "stopped"
    """Nobody is told any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How fan-outs are admitted, cut and queued."""

    page_followers: int
    window_pages: int
    cool_down: timedelta
    day_fanouts: int
    push_lasts: timedelta
    email_lasts: timedelta


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether anybody is told."""

    state: FanoutState
    suppressed_because: Suppressed | None
    is_new: bool
    """This asking has made the fan-out."""
    announces: bool
    """The connected are to be told, now, by whoever has asked."""


@dataclass(frozen=True, slots=True)
class Step:
    """The pages that were just planned."""

    page_after: UUID | None
    """The last follower id before them; None: they begin with the first."""
    pages_before: int
    page_ends: Sequence[UUID]
    """The last follower id of each."""
    is_complete: bool
    """Everybody is told."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a page, and how the fan-out goes on."""

    verdict: Verdict
    recipients: int
    """Inbox rows written."""
    has_queued: bool
    """Something is to be pushed or mailed."""
    step: Step | None


@dataclass(frozen=True, slots=True)
class HeldPage:
    """The range of a page that came while its fan-out was paused."""

    page_number: int
    after_follower_id: UUID | None
    last_follower_id: UUID


@dataclass(frozen=True, slots=True)
class Fanout:
    """A fan-out and how far it is. Counts are of pages and of inbox rows."""

    fanout_id: UUID
    kind: NoticeKind
    stream_id: UUID
    channel_id: UUID
    channel_name: str
    title: str
    category: str | None
    state: FanoutState
    suppressed_because: Suppressed | None
    pages_expected: int
    """An estimate, from the number of followers when the plan began."""
    pages_planned: int
    pages_done: int
    recipients: int
    audience: int
    """Followers who wanted notices when the plan began: an estimate."""
    started_at: datetime
    """When that happened which is told."""
    created_at: datetime
    begun_at: datetime | None
    planned_at: datetime | None
    """None while the plan goes on."""
    completed_at: datetime | None
    state_changed_at: datetime
    paused_for: timedelta
    """The sum of the pauses that are over."""
    read_at: datetime
    """The database's time when this was so."""

    @property
    def active_seconds(self) -> float | None:
        """For how long it has been told, without pauses; None: not begun yet."""
        if self.begun_at is None:
            return None
        is_over = self.state is not FanoutState.RUNNING
        until = self.state_changed_at if is_over else self.read_at
        return max(0.001, (until - self.begun_at - self.paused_for).total_seconds())

    @property
    def recipients_per_second(self) -> float | None:
        """Inbox rows a second; None: not begun yet."""
        seconds = self.active_seconds
        return None if seconds is None else round(self.recipients / seconds, 1)

    @property
    def eta_seconds(self) -> float | None:
        """Until the last page is told, at the speed of those before; None: it does not run, or nothing is done yet."""
        seconds = self.active_seconds
        if self.state is not FanoutState.RUNNING or seconds is None or self.pages_done == 0:
            return None
        pages = self.pages_planned if self.planned_at else max(self.pages_expected, self.pages_planned + 1)
        return round((pages - self.pages_done) * seconds / self.pages_done, 3)

    @property
    def notice(self) -> Notice:
        """What it tells."""
        return Notice(
            notification_id=self.fanout_id,
            kind=self.kind,
            stream_id=self.stream_id,
            channel_id=self.channel_id,
            channel_name=self.channel_name,
            title=self.title,
            category=self.category,
            created_at=self.started_at,
        )


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many recipients had an outcome."""

    channel: str
    outcome: str
    recipients: int


async def admit(connection: Connection | Pool, notice: Notice, limits: Limits, *, is_live: bool) -> Admission:
    """Make the notice's fan-out unless it is there, and decide once whether anybody is told.

    Outside of a transaction what was decided is so at once, for whichever lane hears of it second.
    """
    row = await queries.admit_fanout(
        connection,
        fanout_id=notice.notification_id,
        kind=notice.kind,
        stream_id=notice.stream_id,
        channel_id=notice.channel_id,
        channel_name=notice.channel_name,
        title=notice.title,
        category=notice.category,
        started_at=notice.created_at,
        cool_down=limits.cool_down,
        day_max=limits.day_fanouts,
        is_live=is_live,
    )
    # a recording that was published again has a fan-out under its first notice's id, and none under this one's
    state = FanoutState(row["state"] or FanoutState.SUPPRESSED)
    return Admission(state, row["suppressed_because"], row["is_new"], row["announces"])


async def find_state(connection: Connection, fanout_id: UUID) -> FanoutState | None:
    """The state of a fan-out; None: it was not admitted yet."""
    state = await queries.find_fanout_state(connection, fanout_id=fanout_id)
    return FanoutState(state) if state else None


async def begin(connection: Connection, fanout_id: UUID, limits: Limits) -> Step | None:
    """Plan the first pages; None: it was begun before, or is not to be told."""
    row = await queries.begin_fanout(
        connection, fanout_id=fanout_id, page_followers=limits.page_followers, window_pages=limits.window_pages
    )
    return _step(row) if row else None


async def go_on(connection: Connection, fanout_id: UUID, limits: Limits) -> Step:
    """Plan the next pages of a running fan-out as far as its window is free, or complete it."""
    return _step(
        await queries.go_on_with_fanout(
            connection, fanout_id=fanout_id, page_followers=limits.page_followers, window_pages=limits.window_pages
        )
    )


async def tell_page(
    connection: Connection,
    fanout_id: UUID,
    page_number: int,
    *,
    after: UUID | None,
    last: UUID,
    limits: Limits,
) -> Told:
    """Tell the followers in `(after, last]`, once, and plan on; the fan-out's row is held until the commit."""
    row = await queries.tell_page(
        connection,
        fanout_id=fanout_id,
        page_number=page_number,
        after_follower_id=after,
        last_follower_id=last,
        push_lasts=limits.push_lasts,
        email_lasts=limits.email_lasts,
        page_followers=limits.page_followers,
        window_pages=limits.window_pages,
    )
    verdict = Verdict(row["verdict"])
    step = _step(row) if verdict is Verdict.TOLD else None
    return Told(verdict, row["told"] or 0, bool(row["has_queued"]), step)


async def end_fanouts(connection: Connection, stream_id: UUID) -> Sequence[UUID]:
    """Stop telling of a stream's start: it is over. The fan-outs that this has stopped."""
    return [row["fanout_id"] for row in await queries.end_fanouts(connection, stream_id=stream_id)]


async def change_state(connection: Connection, fanout_id: UUID, *, of: Sequence[FanoutState], to: FanoutState) -> bool:
    """Move a fan-out from one of some states to another; False: it was in none of them."""
    changed = await queries.change_fanout_state(connection, fanout_id=fanout_id, states=list(of), state=to)
    return changed is not None


async def list_held_pages(connection: Connection, fanout_id: UUID) -> Sequence[HeldPage]:
    """The pages that came while the fan-out was paused."""
    return [HeldPage(**row) for row in await queries.list_held_pages(connection, fanout_id=fanout_id)]


async def count_held_pages(pool: Pool, fanout_id: UUID) -> int:
    """How many pages came while the fan-out was paused."""
    count: int = await queries.count_held_pages(pool, fanout_id=fanout_id)
    return count


async def find_fanout(pool: Connection | Pool, fanout_id: UUID) -> Fanout | None:
    """How a fan-out stands."""
    row = await queries.find_fanout(pool, fanout_id=fanout_id)
    return _fanout(row) if row else None


async def list_fanouts(
    pool: Pool, channel_id: UUID, *, before: tuple[datetime, UUID], items_max: int
) -> Sequence[Fanout]:
    """A channel's fan-outs, the newest first, those that come after (started_at, id) in that order."""
    rows = await queries.list_fanouts(
        pool, channel_id=channel_id, before_started_at=before[0], before_fanout_id=before[1], items_max=items_max
    )
    return [_fanout(row) for row in rows]


async def list_outcomes(pool: Pool, fanout_id: UUID) -> Sequence[OutcomeCount]:
    """What became of the recipients, by delivery channel."""
    return [OutcomeCount(**row) for row in await queries.list_fanout_outcomes(pool, fanout_id=fanout_id)]


def _fanout(row: Answer) -> Fanout:
    return Fanout(**{**row, "state": FanoutState(row["state"])})


def _step(row: Answer) -> Step:
    return Step(row["page_after"], row["pages_before"] or 0, row["page_ends"] or (), bool(row["is_complete"]))
