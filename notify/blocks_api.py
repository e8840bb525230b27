"""Blocking over HTTP: whom a channel does not want as followers."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from notify import people_store
from notify.activity import Activity
from notify.errors import BlocksThemselves, TooManyBlocks, UserNotFound
from notify.followers import Followers
from notify.store import END_OF_TIME, LAST_USER_ID
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller


class BlockedPath(BaseModel):
    """Whom."""

    user_id: UUID


class BlockedView(BaseModel):
    """Somebody whom you have blocked."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str
    blocked_at: datetime


class BlocksView(BaseModel):
    """A page of those whom you have blocked, the newest first."""

    items: list[BlockedView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class BlocksApi:
    """Those who may not follow."""

    tag = "followers"

    def __init__(self, pool: Pool, followers: Followers, activity: Activity) -> None:
        self._pool = pool
        self._followers = followers
        self._activity = activity

    @endpoint("PUT", "/api/users/me/blocks/{user_id}", problems=(UserNotFound, BlocksThemselves, TooManyBlocks))
    async def block(self, caller: Caller, path: BlockedPath) -> None:
        """Let somebody not follow your channel: if they do, that ends, and they cannot follow it again."""
        await self._activity.note(caller)
        await self._followers.block(caller, path.user_id)

    @endpoint("DELETE", "/api/users/me/blocks/{user_id}")
    async def unblock(self, caller: Caller, path: BlockedPath) -> None:
        """Let somebody follow your channel again, if they want to."""
        await self._activity.note(caller)
        await self._followers.unblock(caller, path.user_id)

    @endpoint("GET", "/api/users/me/blocks")
    async def list_blocks(self, caller: Caller, query: PageQuery) -> BlocksView:
        """Whom you have blocked, the newest first."""
        await self._activity.note(caller)
        before = decode_cursor(query.cursor, datetime, UUID) if query.cursor else (END_OF_TIME, LAST_USER_ID)
        found = await people_store.list_blocks(self._pool, caller.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return BlocksView(
            items=[BlockedView.model_validate(blocked) for blocked in shown],
            next_cursor=encode_cursor(shown[-1].blocked_at, shown[-1].user_id) if more else None,
        )
