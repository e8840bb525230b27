"""Notify's HTTP face: following and followers."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from notify import store
from notify.errors import (
    FollowsThemselves,
    TooManyFollows,
    UserNotFound,
)
from notify.followers import Followers
from runtime.endpoints import endpoint
from runtime.pages import InvalidCursor, PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller


class UserPath(BaseModel):
    """Whose followers."""

    user_id: UUID = Field(description="A person; also the id of their channel.")


class FollowerView(BaseModel):
    """Somebody who follows."""

    user_id: UUID
    username: str
    followed_at: datetime


class FollowersView(BaseModel):
    """A page of followers, the newest first."""

    items: list[FollowerView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class FollowersApi:
    """Following and followers."""

    tag = "followers"

    def __init__(self, pool: Pool, followers: Followers) -> None:
        self._pool = pool
        self._followers = followers

    @endpoint("PUT", "/api/users/{user_id}/followers/me", problems=(UserNotFound, FollowsThemselves, TooManyFollows))
    async def follow(self, caller: Caller, path: UserPath) -> None:
        """Follow somebody; doing it again changes nothing."""
        await self._followers.follow(caller, path.user_id)

    @endpoint("DELETE", "/api/users/{user_id}/followers/me")
    async def unfollow(self, caller: Caller, path: UserPath) -> None:
        """Do not follow somebody (any longer)."""
        await self._followers.unfollow(caller, path.user_id)

    @endpoint("GET", "/api/users/{user_id}/followers", problems=(UserNotFound, InvalidCursor))
    async def list_followers(self, path: UserPath, query: PageQuery) -> FollowersView:
        """Who follows somebody, the newest first."""
        before = (
            decode_cursor(query.cursor, datetime, UUID) if query.cursor else (store.END_OF_TIME, store.LAST_USER_ID)
        )
        found = await store.list_followers(self._pool, path.user_id, before=before, items_max=query.limit + 1)
        if not found and await store.find_username(self._pool, path.user_id) is None:
            raise UserNotFound(f"nobody has the id {path.user_id}")
        shown = found[: query.limit]
        more = len(found) > query.limit
        return FollowersView(
            items=[FollowerView(user_id=f.user_id, username=f.username, followed_at=f.followed_at) for f in shown],
            next_cursor=encode_cursor(shown[-1].followed_at, shown[-1].user_id) if more else None,
        )
