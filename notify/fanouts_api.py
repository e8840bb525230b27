"""The HTTP face of fan-outs, for streamers: how telling their followers goes."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from notify import fanout_store
from notify.errors import FanoutNotFound, NotYourFanout
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.tokens import Caller


class StreamPath(BaseModel):
    """Which stream's fan-out."""

    stream_id: UUID


class FanoutView(BaseModel):
    """How far a stream's followers have been told."""

    stream_id: UUID
    channel_id: UUID
    pages_planned: int
    pages_done: int
    recipients: int = Field(description="Followers in whose inbox the notice is.")
    started_at: datetime = Field(description="When the stream started.")
    planned_at: datetime | None = Field(description="When all pages were planned; null: the plan goes on.")
    completed_at: datetime | None = Field(description="When the last follower was told; null: not yet.")


class FanoutsApi:
    """For streamers: how telling their followers goes."""

    tag = "fanouts"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/fanouts/{stream_id}", problems=(FanoutNotFound, NotYourFanout))
    async def show_fanout(self, caller: Caller, path: StreamPath) -> FanoutView:
        """How far the followers of your stream have been told."""
        fanout = await fanout_store.find_fanout(self._pool, path.stream_id)
        if fanout is None:
            raise FanoutNotFound(f"no fan-out of a stream {path.stream_id}")
        if fanout.channel_id != caller.user_id:
            raise NotYourFanout("only the streamer may see this")
        return FanoutView(
            stream_id=fanout.stream_id,
            channel_id=fanout.channel_id,
            pages_planned=fanout.pages_planned,
            pages_done=fanout.pages_done,
            recipients=fanout.recipients,
            started_at=fanout.started_at,
            planned_at=fanout.planned_at,
            completed_at=fanout.completed_at,
        )
