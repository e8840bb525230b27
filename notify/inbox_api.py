"""The inbox over HTTP."""

from uuid import UUID

from pydantic import BaseModel, Field

from notify import store
from notify.notices import Notice
from runtime.endpoints import endpoint
from runtime.pages import InvalidCursor, PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller


class NoticesView(BaseModel):
    """A page of one's notices, the newest first."""

    items: list[Notice]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class InboxApi:
    """The inbox."""

    tag = "notifications"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @endpoint("GET", "/api/notifications", problems=(InvalidCursor,))
    async def list_notices(self, caller: Caller, query: PageQuery) -> NoticesView:
        """Your notices, the newest first."""
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else store.LAST_USER_ID
        found = await store.list_notices(self._pool, caller.user_id, before=before, items_max=query.limit + 1)
        shown = list(found[: query.limit])
        more = len(found) > query.limit
        return NoticesView(items=shown, next_cursor=encode_cursor(shown[-1].notification_id) if more else None)
