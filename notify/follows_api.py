"""Following over HTTP: whom one follows and what one wants of them, who follows a channel, whom a channel blocks."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from notify import people_store
from notify.activity import Activity
from notify.errors import (
    BlockedByChannel,
    FollowsThemselves,
    NotFollowing,
    TooManyFollows,
    UserNotFound,
)
from notify.followers import Followers
from notify.people_store import OwnFollow
from notify.store import END_OF_TIME, LAST_USER_ID
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.read_pool import ReadPool
from runtime.tokens import Caller

CATEGORIES_MAX = 20
CATEGORY_CHARACTERS_MAX = 50

Category = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=CATEGORY_CHARACTERS_MAX)]


class UserPath(BaseModel):
    """Whose followers."""

    user_id: UUID = Field(description="A person; also the id of their channel.")


class ChannelPath(BaseModel):
    """Which channel of those that one follows."""

    channel_id: UUID


class FollowerView(BaseModel):
    """Somebody who follows."""

    user_id: UUID
    username: str
    followed_at: datetime


class FollowersView(BaseModel):
    """A page of followers, the newest first."""

    items: list[FollowerView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")
    followers: int = Field(description="How many they are in all, exactly.")
    want_notices: int | None = Field(description="How many of them want notices; null: only the streamer may know.")


class FollowView(BaseModel):
    """A channel that you follow, and what you want of it. Null: as in your preferences."""

    model_config = ConfigDict(from_attributes=True)

    channel_id: UUID
    username: str = Field(description="Of the streamer.")
    followed_at: datetime
    muted: bool = Field(description="You follow, and are told nothing.")
    inbox: bool | None = Field(description="Notices come into your inbox and on the live lane.")
    webpush: bool | None = Field(description="Notices are pushed to your browsers.")
    email: bool | None = Field(description="Each notice is mailed to you.")
    recordings: bool | None = Field(description="You are told of recordings, too.")
    categories: list[str] | None = Field(description="You are told of streams in these categories alone; null: of all.")


class FollowingView(BaseModel):
    """A page of the channels that you follow, the newest first."""

    items: list[FollowView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")
    following: int = Field(description="How many they are in all.")


class FollowChanges(BaseModel):
    """What is to change; what is left out stays as it is, and null means: as in your preferences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    muted: bool = Field(default_factory=bool)
    inbox: bool | None = None
    webpush: bool | None = None
    email: bool | None = None
    recordings: bool | None = None
    categories: list[Category] | None = Field(default=None, min_length=1, max_length=CATEGORIES_MAX)


class FollowsApi:
    """Following and followers."""

    tag = "followers"

    def __init__(self, reads: ReadPool, followers: Followers, activity: Activity) -> None:
        self._reads = reads
        self._followers = followers
        self._activity = activity

    @endpoint(
        "PUT",
        "/api/users/{user_id}/followers/me",
        problems=(UserNotFound, BlockedByChannel, FollowsThemselves, TooManyFollows),
    )
    async def follow(self, caller: Caller, path: UserPath) -> None:
        """Follow somebody; doing it again changes nothing."""
        await self._activity.note(caller)
        await self._followers.follow(caller, path.user_id)

    @endpoint("DELETE", "/api/users/{user_id}/followers/me")
    async def unfollow(self, caller: Caller, path: UserPath) -> None:
        """Do not follow somebody (any longer)."""
        await self._activity.note(caller)
        await self._followers.unfollow(caller, path.user_id)

    @endpoint("GET", "/api/users/{user_id}/followers", problems=(UserNotFound,))
    async def list_followers(self, caller: Caller | None, path: UserPath, query: PageQuery) -> FollowersView:
        """Who follows somebody, the newest first, and how many they are."""
        channel = await people_store.find_channel(self._reads, path.user_id)
        if channel is None:
            raise UserNotFound(f"nobody has the id {path.user_id}")
        before = _before(query)
        found = await people_store.list_followers(self._reads, path.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        is_streamer = caller is not None and caller.user_id == path.user_id
        return FollowersView(
            items=[FollowerView(user_id=f.user_id, username=f.username, followed_at=f.followed_at) for f in shown],
            next_cursor=encode_cursor(shown[-1].followed_at, shown[-1].user_id) if more else None,
            followers=channel.followers,
            want_notices=channel.want_notices if is_streamer else None,
        )

    @endpoint("GET", "/api/follows")
    async def list_following(self, caller: Caller, query: PageQuery) -> FollowingView:
        """Whom you follow, the newest first, and what you want of each."""
        await self._activity.note(caller)
        before = _before(query)
        found = await people_store.list_following(self._reads, caller.user_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return FollowingView(
            items=[_view(follow) for follow in shown],
            next_cursor=encode_cursor(shown[-1].followed_at, shown[-1].channel_id) if more else None,
            following=await people_store.count_following(self._reads, caller.user_id),
        )

    @endpoint("GET", "/api/follows/{channel_id}", problems=(NotFollowing,))
    async def show_follow(self, caller: Caller, path: ChannelPath) -> FollowView:
        """Your follow of one channel, with what you want of it."""
        await self._activity.note(caller)
        follow = await people_store.find_following(self._reads, channel_id=path.channel_id, follower_id=caller.user_id)
        if follow is None:
            raise NotFollowing("you do not follow this channel")
        return _view(follow)

    @endpoint("PATCH", "/api/follows/{channel_id}", problems=(NotFollowing,))
    async def change_follow(self, caller: Caller, path: ChannelPath, body: FollowChanges) -> FollowView:
        """Change what you want of one channel that you follow."""
        await self._activity.note(caller)
        changes = {name: getattr(body, name) for name in body.model_fields_set}
        if body.categories is not None:
            changes["categories"] = list(dict.fromkeys(body.categories))
        return _view(await self._followers.change_wants(caller, path.channel_id, changes))


def _before(query: PageQuery) -> tuple[datetime, UUID]:
    return decode_cursor(query.cursor, datetime, UUID) if query.cursor else (END_OF_TIME, LAST_USER_ID)


def _view(follow: OwnFollow) -> FollowView:
    return FollowView.model_validate(follow)
