"""Chat beside a recording, by its own seconds."""

from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chat.log import store as log_store
from chat.log.store import FIRST_ID, Message
from chat.log.views import MessageView, message_members
from chat.replay import store
from chat.replay.store import Replay
from chat.replay.timeline import Timeline
from runtime.endpoints import endpoint
from runtime.ids import uuid7_floor
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.problems import NotFound
from runtime.tokens import Caller

SECONDS_MAX = 10_000_000.0


class RecordingNotFound(NotFound):
    """No recording has this id, or none that the caller may see."""

    type: ClassVar[str] = "recording-not-found"
    title: ClassVar[str] = "There is no such recording"


class ReplayPath(BaseModel):
    """Which recording."""

    model_config = ConfigDict(frozen=True)

    stream_id: UUID = Field(description="The recording's id, which is its stream's (a clip has one of its own).")


class ReplayQuery(PageQuery):
    """Which part of it."""

    from_: float = Field(
        default=0.0, ge=0, le=SECONDS_MAX, allow_inf_nan=False, alias="from", description="From this second on."
    )
    to: float | None = Field(
        default=None, ge=0, le=SECONDS_MAX, allow_inf_nan=False, description="Up to before this second; else the end."
    )


class ReplayedView(MessageView):
    """A message, and where in the recording it belongs."""

    at_seconds: float = Field(description="Second of the recording at which it was said.")


class ReplayPage(BaseModel):
    """What was said, in the order of the recording."""

    model_config = ConfigDict(frozen=True)

    items: list[ReplayedView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null on the last.")


class ReplayApi:
    """Chat beside recordings, clips and running streams."""

    tag = "chat"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/archives/{stream_id}/chat", problems=(RecordingNotFound,))
    async def replay_chat(self, caller: Caller | None, path: ReplayPath, query: ReplayQuery) -> ReplayPage:
        """What was said in the channel's room while a recording was made, by the recording's seconds, oldest first.

        The seconds are those that a player shows: where the stream was interrupted, the recording's time stands still,
        and what was said meanwhile comes where it goes on. Whoever may see the recording may read it; of a private one
        that is its owner. Works for clips, and for a stream that still runs.
        """
        replay = await store.find(self._pool, path.stream_id)
        if replay is None or not replay.is_seen_by(None if caller is None else caller.user_id):
            raise RecordingNotFound(f"no recording {path.stream_id}")
        if replay.timeline is None:
            return ReplayPage(items=[], next_cursor=None)
        first, before = _ids(replay, replay.timeline, query.from_, query.to)
        found = await log_store.list_replayed(
            self._pool,
            replay.channel_id,
            first=first,
            after=FIRST_ID if query.cursor is None else decode_cursor(query.cursor, UUID)[0],
            before=before,
            rows_max=query.limit + 1,  # one more than asked for tells whether there is a next page
        )
        shown = found[: query.limit]
        return ReplayPage(
            items=[_view(message, replay, replay.timeline) for message in shown],
            next_cursor=encode_cursor(shown[-1].message_id) if len(found) > query.limit else None,
        )


def _ids(replay: Replay, timeline: Timeline, from_seconds: float, to_seconds: float | None) -> tuple[UUID, UUID]:
    """The ids of the messages of a part of a recording: from the first to below the second."""
    ends = replay.duration_seconds
    if ends is not None and (to_seconds is None or to_seconds >= ends):
        to_seconds = ends
    first = timeline.earliest(replay.starts_seconds + from_seconds)
    if to_seconds is None:
        last = _ends_at(timeline)
        return uuid7_floor(first), log_store.LAST_ID if last is None else uuid7_floor(last)
    return uuid7_floor(first), uuid7_floor(timeline.earliest(replay.starts_seconds + to_seconds))


def _ends_at(timeline: Timeline) -> datetime | None:
    if timeline.ends_seconds is None:
        return None
    return timeline.earliest(timeline.ends_seconds) + timedelta(milliseconds=1)


def _view(message: Message, replay: Replay, timeline: Timeline) -> ReplayedView:
    at_seconds = max(0.0, timeline.seconds_of(message.sent_at) - replay.starts_seconds)
    return ReplayedView.model_validate({**message_members(message), "at_seconds": round(at_seconds, 3)})
