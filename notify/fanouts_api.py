"""The HTTP face of fan-outs, for streamers: how telling their followers goes, and steering it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from notify import fanout_store
from notify.errors import FanoutNotFound, FanoutStateForbids, NotYourFanout
from notify.fanout_steering import Steering, own_fanout
from notify.fanout_store import Fanout, FanoutState, OutcomeCount, Suppressed
from notify.notices import NoticeKind
from notify.store import END_OF_TIME, LAST_USER_ID
from runtime.endpoints import endpoint
from runtime.pages import InvalidCursor, PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller


class FanoutPath(BaseModel):
    """Which fan-out."""

    fanout_id: UUID = Field(description="That of the notice; for a stream's start it is the stream's id.")


class FanoutView(BaseModel):
    """How far a channel's followers have been told of something."""

    fanout_id: UUID
    kind: NoticeKind
    stream_id: UUID
    channel_id: UUID
    title: str
    state: FanoutState
    suppressed_because: Suppressed | None = Field(description="Why nobody is told; null unless it is suppressed.")
    pages_planned: int = Field(description="Pages so far; the plan goes on while `planned_at` is null.")
    pages_done: int
    recipients: int = Field(description="Followers in whose inbox the notice is.")
    audience: int = Field(description="Followers who wanted notices when it began; an estimate of who is told.")
    recipients_per_second: float | None = Field(description="Since it began, without pauses; null: not begun yet.")
    eta_seconds: float | None = Field(description="Until all inboxes are written, if it goes on so; null: not running.")
    started_at: datetime = Field(description="When that happened which is told.")
    begun_at: datetime | None = Field(description="When the first page was planned.")
    planned_at: datetime | None = Field(description="When all pages were planned; null: the plan goes on.")
    completed_at: datetime | None = Field(description="When the last inbox was written; null: not yet, or never.")
    state_changed_at: datetime


class OutcomeView(BaseModel):
    """How many recipients had an outcome."""

    channel: str = Field(description="inbox, webpush or email.")
    outcome: str = Field(
        description="inbox: told. webpush, email: queued, then delivered, gone, refused, expired, dropped or failed; "
        "quiet, capped: not queued, by the follower's own wish."
    )
    recipients: int


class FanoutDetailView(FanoutView):
    """A fan-out with what became of its recipients."""

    pages_held: int = Field(description="Pages that came while it was paused, and are told when it resumes.")
    outcomes: list[OutcomeView]


class FanoutsView(BaseModel):
    """A page of one's fan-outs, the newest first."""

    items: list[FanoutView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class FanoutsApi:
    """For streamers: how telling their followers goes."""

    tag = "fanouts"

    def __init__(self, pool: Pool, steering: Steering) -> None:
        self._pool = pool
        self._steering = steering

    @endpoint("GET", "/api/fanouts", problems=(InvalidCursor,))
    async def list_fanouts(self, caller: Caller, query: PageQuery) -> FanoutsView:
        """What your followers were told, the newest first."""
        before = decode_cursor(query.cursor, datetime, UUID) if query.cursor else (END_OF_TIME, LAST_USER_ID)
        found = await fanout_store.list_fanouts(self._pool, caller.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return FanoutsView(
            items=[_view(fanout) for fanout in shown],
            next_cursor=encode_cursor(shown[-1].started_at, shown[-1].fanout_id) if more else None,
        )

    @endpoint("GET", "/api/fanouts/{fanout_id}", problems=(FanoutNotFound, NotYourFanout))
    async def show_fanout(self, caller: Caller, path: FanoutPath) -> FanoutDetailView:
        """How far your followers have been told, and what became of pushes and mails."""
        return await self._detail(caller, path.fanout_id)

    @endpoint(
        "POST",
        "/api/fanouts/{fanout_id}/pause",
        problems=(FanoutNotFound, NotYourFanout, FanoutStateForbids),
        idempotent=True,
    )
    async def pause(self, caller: Caller, path: FanoutPath) -> FanoutDetailView:
        """Let it wait: followers who were not told by now are told when you resume it, unless the stream ends."""
        await self._steering.pause(caller, path.fanout_id)
        return await self._detail(caller, path.fanout_id)

    @endpoint(
        "POST",
        "/api/fanouts/{fanout_id}/resume",
        problems=(FanoutNotFound, NotYourFanout, FanoutStateForbids),
        idempotent=True,
    )
    async def resume(self, caller: Caller, path: FanoutPath) -> FanoutDetailView:
        """Go on where it was paused."""
        await self._steering.resume(caller, path.fanout_id)
        return await self._detail(caller, path.fanout_id)

    @endpoint(
        "POST",
        "/api/fanouts/{fanout_id}/cancel",
        problems=(FanoutNotFound, NotYourFanout, FanoutStateForbids),
        idempotent=True,
    )
    async def cancel(self, caller: Caller, path: FanoutPath) -> FanoutDetailView:
        """Tell nobody any more; for good. Who was told by now keeps the notice."""
        await self._steering.cancel(caller, path.fanout_id)
        return await self._detail(caller, path.fanout_id)

    async def _detail(self, caller: Caller, fanout_id: UUID) -> FanoutDetailView:
        fanout = await own_fanout(self._pool, caller, fanout_id)
        held = await fanout_store.count_held_pages(self._pool, fanout_id)
        outcomes = await fanout_store.list_outcomes(self._pool, fanout_id)
        return FanoutDetailView(**_view(fanout).model_dump(), pages_held=held, outcomes=_outcomes(outcomes))


def _view(fanout: Fanout) -> FanoutView:
    return FanoutView(
        fanout_id=fanout.fanout_id,
        kind=fanout.kind,
        stream_id=fanout.stream_id,
        channel_id=fanout.channel_id,
        title=fanout.title,
        state=fanout.state,
        suppressed_because=fanout.suppressed_because,
        pages_planned=fanout.pages_planned,
        pages_done=fanout.pages_done,
        recipients=fanout.recipients,
        audience=fanout.audience,
        recipients_per_second=fanout.recipients_per_second,
        eta_seconds=fanout.eta_seconds,
        started_at=fanout.started_at,
        begun_at=fanout.begun_at,
        planned_at=fanout.planned_at,
        completed_at=fanout.completed_at,
        state_changed_at=fanout.state_changed_at,
    )


def _outcomes(counts: Sequence[OutcomeCount]) -> list[OutcomeView]:
    return [OutcomeView(channel=one.channel, outcome=one.outcome, recipients=one.recipients) for one in counts]
