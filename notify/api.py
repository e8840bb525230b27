"""Notify's HTTP face: following, followers, and how a fan-out stands."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from notify import store
from notify.errors import (
    FanoutNotFound,
    FollowsThemselves,
    NotYourFanout,
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


class StreamPath(BaseModel):
    """Which stream's fan-out."""

    stream_id: UUID


class FollowerView(BaseModel):
    """Somebody who follows."""

    user_id: UUID
    username: str
    followed_at: datetime


class FollowersView(BaseModel):
    """A page of followers, the newest first."""

    items: list[FollowerView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


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


class FanoutsApi:
    """For streamers: how telling their followers goes."""

    tag = "fanouts"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/fanouts/{stream_id}", problems=(FanoutNotFound, NotYourFanout))
    async def show_fanout(self, caller: Caller, path: StreamPath) -> FanoutView:
        """How far the followers of your stream have been told."""
        fanout = await store.find_fanout(self._pool, path.stream_id)
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
