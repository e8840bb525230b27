"""Held messages over HTTP: what waits, and letting it through or not."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chat.moderation.access import require
from chat.moderation.held import HeldQueue, list_held
from chat.problems import HeldMessageNotFound, NotAModerator
from chat.rooms.roompath import ChannelPath, RoomMissing
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller

FIRST_ID = UUID(int=0)


class HeldView(BaseModel):
    """A message that waits for a moderator."""

    model_config = ConfigDict(from_attributes=True)

    held_id: UUID
    user_id: UUID
    username: str
    kind: str
    text: str
    term: str = Field(description="The blocked term that it has.")
    held_at: datetime
    expires_at: datetime = Field(description="Then it is gone.")


class HeldPage(BaseModel):
    """A page of what waits, the oldest first."""

    items: list[HeldView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class HeldPath(ChannelPath):
    """Which message of which room."""

    held_id: UUID


class HeldApi:
    """What waits for a moderator."""

    tag = "chat-moderation"

    def __init__(self, pool: Pool, queue: HeldQueue) -> None:
        self._pool = pool
        self._queue = queue

    @endpoint("GET", "/api/chat/{channel_id}/held", problems=(RoomMissing, NotAModerator))
    async def list_held(self, caller: Caller, path: ChannelPath, query: PageQuery) -> HeldPage:
        """The messages that wait for a moderator."""
        await require(self._pool, path.channel_id, caller)
        after = decode_cursor(query.cursor, UUID)[0] if query.cursor else FIRST_ID
        found = await list_held(self._pool, path.channel_id, after=after, items_max=query.limit + 1)
        shown = found[: query.limit]
        return HeldPage(
            items=[HeldView.model_validate(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].held_id) if len(found) > query.limit else None,
        )

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/held/{held_id}/approve",
        problems=(RoomMissing, NotAModerator, HeldMessageNotFound),
        idempotent=True,
    )
    async def approve(self, caller: Caller, path: HeldPath) -> None:
        """Let a message into the room, under its sender's name."""
        await self._queue.approve(caller, path.channel_id, path.held_id)

    @endpoint(
        "POST",
        "/api/chat/{channel_id}/held/{held_id}/deny",
        problems=(RoomMissing, NotAModerator, HeldMessageNotFound),
        idempotent=True,
    )
    async def deny(self, caller: Caller, path: HeldPath) -> None:
        """Do not let a message into the room."""
        await self._queue.deny(caller, path.channel_id, path.held_id)
