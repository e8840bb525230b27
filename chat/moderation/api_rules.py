"""A room's rules over HTTP: seeing and changing them, and followers-only in one click."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from chat.moderation.access import require
from chat.moderation.actions import Moderation
from chat.problems import NotAModerator, NotTheStreamer
from chat.rooms.roompath import ChannelPath, RoomMissing
from chat.speaking.rules import FOLLOW_MINUTES_MAX, Rules
from chat.store import find_facts
from runtime.endpoints import endpoint
from runtime.postgres import Pool
from runtime.tokens import Caller


class RuleChanges(Rules):
    """What is to change; what is left out stays as it is."""


class FollowersOnly(BaseModel):
    """Who may write from now on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minutes: Annotated[int, Field(ge=0, le=FOLLOW_MINUTES_MAX)] | None = Field(
        default=0, description="Who has followed for so long; 0: any follower; null: everybody again."
    )


class RulesApi:
    """What a room allows."""

    tag = "chat-moderation"

    def __init__(self, pool: Pool, moderation: Moderation) -> None:
        self._pool = pool
        self._moderation = moderation

    @endpoint("GET", "/api/chat/{channel_id}/settings", problems=(RoomMissing, NotAModerator))
    async def show_settings(self, caller: Caller, path: ChannelPath) -> Rules:
        """The room's rules."""
        await require(self._pool, path.channel_id, caller)
        facts = await find_facts(self._pool, path.channel_id)
        if facts is None:
            raise RoomMissing(f"no channel has the id {path.channel_id}")
        return facts.rules

    @endpoint("PATCH", "/api/chat/{channel_id}/settings", problems=(RoomMissing, NotAModerator, NotTheStreamer))
    async def change_settings(self, caller: Caller, path: ChannelPath, body: RuleChanges) -> Rules:
        """Change some of the room's rules; what is kept of the room, and for how long, only the streamer changes."""
        changes = {name: getattr(body, name) for name in body.model_fields_set}
        return await self._moderation.change_rules(caller, path.channel_id, changes)

    @endpoint("POST", "/api/chat/{channel_id}/followers-only", problems=(RoomMissing, NotAModerator))
    async def followers_only(self, caller: Caller, path: ChannelPath, body: FollowersOnly | None) -> Rules:
        """Let only followers write, at once; without a body any follower may."""
        minutes = 0 if body is None else body.minutes
        return await self._moderation.followers_only(caller, path.channel_id, minutes)
