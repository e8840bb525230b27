"""The record of what moderators did, over HTTP."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from chat.moderation.access import require
from chat.moderation.audit import list_audit
from chat.problems import NotAModerator
from chat.rooms.roompath import ChannelPath, RoomMissing
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller

LAST_ID = UUID(int=2**128 - 1)


class AuditView(BaseModel):
    """What somebody did."""

    model_config = ConfigDict(from_attributes=True)

    audit_id: UUID
    actor_id: UUID
    actor_name: str = Field(description="As they were called then.")
    action: str
    target_id: UUID | None = Field(description="To whom.")
    target_name: str | None
    message_id: UUID | None = Field(description="To which message.")
    reason: str | None
    particulars: Mapping[str, JsonValue] = Field(description="What else there is to it: seconds, rules, a term.")
    acted_at: datetime


class AuditPage(BaseModel):
    """A page of the record, the newest first."""

    items: list[AuditView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class AuditApi:
    """Who did what."""

    tag = "chat-moderation"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/chat/{channel_id}/audit", problems=(RoomMissing, NotAModerator))
    async def list_audit(self, caller: Caller, path: ChannelPath, query: PageQuery) -> AuditPage:
        """What the room's streamer and moderators did, the newest first."""
        await require(self._pool, path.channel_id, caller)
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else LAST_ID
        found = await list_audit(self._pool, path.channel_id, before=before, items_max=query.limit + 1)
        shown = found[: query.limit]
        return AuditPage(
            items=[AuditView.model_validate(one) for one in shown],
            next_cursor=encode_cursor(shown[-1].audit_id) if len(found) > query.limit else None,
        )
