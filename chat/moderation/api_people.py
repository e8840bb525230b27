"""People in a room over HTTP: who moderates, who is silenced."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from chat.moderation import people_store
from chat.moderation.access import require
from chat.moderation.actions import REASON_CHARACTERS_MAX, TIMEOUT_SECONDS_MAX, Moderation
from chat.problems import AlreadyModerates, NotAModerator, NotTheStreamer, NotToBeModerated, TooManyModerators
from chat.rooms.roompath import ChannelPath, RoomMissing
from chat.sockets.frames import printable
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)
END_OF_TIME = datetime.fromisoformat("9999-12-31T00:00:00+00:00")


def _printable(reason: str) -> str:
    if not printable(reason):
        raise ValueError("control characters are not allowed")
    return reason


Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_CHARACTERS_MAX),
    AfterValidator(_printable),
]


class PersonPath(ChannelPath):
    """Whom, in which room."""

    user_id: UUID


class ModeratorView(BaseModel):
    """Somebody who moderates."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str | None = Field(description="Null while chat has not heard their name.")
    added_at: datetime


class ModeratorsView(BaseModel):
    """A page of a room's moderators."""

    items: list[ModeratorView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class BanView(BaseModel):
    """Somebody who is silenced."""

    model_config = ConfigDict(from_attributes=True)

    user_id: UUID
    username: str | None = Field(description="Null while chat has not heard their name.")
    until: datetime | None = Field(description="The end of a timeout; null: a ban.")
    reason: str | None
    banned_by: UUID
    banned_by_name: str | None
    banned_at: datetime


class BansView(BaseModel):
    """A page of those who are silenced, the newest first."""

    items: list[BanView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class Silence(BaseModel):
    """For how long somebody is to be silent, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Annotated[int, Field(ge=1, le=TIMEOUT_SECONDS_MAX, strict=True)] | None = Field(
        description="A timeout, up to 14 days; null: a ban."
    )
    reason: Reason | None = Field(default=None, description="For the other moderators.")


class SilencedView(BaseModel):
    """Until when somebody is silent now."""

    until: datetime | None = Field(description="Null: for good.")


class PeopleModerationApi:
    """Moderators, timeouts and bans."""

    tag = "chat-moderation"

    def __init__(self, pool: Pool, moderation: Moderation) -> None:
        self._pool = pool
        self._moderation = moderation

    @endpoint("GET", "/api/chat/{channel_id}/moderators", problems=(RoomMissing, NotAModerator))
    async def list_moderators(self, caller: Caller, path: ChannelPath, query: PageQuery) -> ModeratorsView:
        """Who moderates the room."""
        await require(self._pool, path.channel_id, caller)
        after = decode_cursor(query.cursor, UUID)[0] if query.cursor else FIRST_ID
        found = await people_store.list_moderators(self._pool, path.channel_id, after=after, items_max=query.limit + 1)
        shown = found[: query.limit]
        return ModeratorsView(
            items=[ModeratorView.model_validate(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].user_id) if len(found) > query.limit else None,
        )

    @endpoint(
        "PUT",
        "/api/chat/{channel_id}/moderators/{user_id}",
        problems=(RoomMissing, NotTheStreamer, AlreadyModerates, TooManyModerators),
    )
    async def add_moderator(self, caller: Caller, path: PersonPath) -> None:
        """Have somebody moderate your room; if they were silenced there, they are no more."""
        await self._moderation.add_moderator(caller, path.channel_id, path.user_id)

    @endpoint(
        "DELETE", "/api/chat/{channel_id}/moderators/{user_id}", problems=(RoomMissing, NotTheStreamer, NotAModerator)
    )
    async def remove_moderator(self, caller: Caller, path: PersonPath) -> None:
        """Have somebody moderate your room no more, or stop moderating one yourself."""
        await self._moderation.remove_moderator(caller, path.channel_id, path.user_id)

    @endpoint("GET", "/api/chat/{channel_id}/bans", problems=(RoomMissing, NotAModerator))
    async def list_bans(self, caller: Caller, path: ChannelPath, query: PageQuery) -> BansView:
        """Who is silenced in the room now, the newest first."""
        await require(self._pool, path.channel_id, caller)
        before = decode_cursor(query.cursor, datetime, UUID) if query.cursor else (END_OF_TIME, LAST_ID)
        found = await people_store.list_bans(self._pool, path.channel_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        return BansView(
            items=[BanView.model_validate(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].banned_at, shown[-1].user_id) if len(found) > query.limit else None,
        )

    @endpoint("PUT", "/api/chat/{channel_id}/bans/{user_id}", problems=(RoomMissing, NotAModerator, NotToBeModerated))
    async def silence(self, caller: Caller, path: PersonPath, body: Silence) -> SilencedView:
        """Time somebody out or ban them; what they said in the room is gone. The newest decision counts."""
        until = await self._moderation.silence(
            caller, path.channel_id, path.user_id, seconds=body.seconds, reason=body.reason
        )
        return SilencedView(until=until)

    @endpoint("DELETE", "/api/chat/{channel_id}/bans/{user_id}", problems=(RoomMissing, NotAModerator))
    async def unban(self, caller: Caller, path: PersonPath) -> None:
        """Let somebody speak again; what they said before stays gone."""
        await self._moderation.lift(caller, path.channel_id, path.user_id)
