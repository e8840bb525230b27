"""The inbox over HTTP: one's notices, which of them are unread, and reading them."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from notify import inbox_store, preferences_store
from notify.activity import Activity
from notify.inbox_store import LAST_NOTICE_ID, InboxNotice
from notify.preferences_api import Absence, absence
from runtime.endpoints import endpoint
from runtime.pages import PageQuery, decode_cursor, encode_cursor
from runtime.postgres import Pool
from runtime.tokens import Caller

UNREAD_LOOKED_AT_MAX = 1_000
READ_IDS_MAX = 100


class NoticesView(Absence):
    """A page of one's notices, the newest first."""

    items: list[InboxNotice]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class UnreadView(BaseModel):
    """How much there is to read."""

    unread: int = Field(description=f"Unread notices among the newest {UNREAD_LOOKED_AT_MAX}.")
    more: bool = Field(description="Older notices were not looked at: there may be more unread ones.")


class Reading(BaseModel):
    """What was read: some notices, or everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=READ_IDS_MAX, description="Notices by `notification_id`."
    )
    everything: bool = Field(default=False, description="All that is in the inbox.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Reading":
        if self.everything == (self.ids is not None):
            raise ValueError("send either `ids` or `everything`: true")
        return self


class InboxApi:
    """The inbox."""

    tag = "notifications"

    def __init__(self, pool: Pool, activity: Activity) -> None:
        self._pool = pool
        self._activity = activity

    @endpoint("GET", "/api/notifications")
    async def list_notices(self, caller: Caller, query: PageQuery) -> NoticesView:
        """Your notices, the newest first."""
        await self._activity.note(caller)
        before = decode_cursor(query.cursor, UUID)[0] if query.cursor else LAST_NOTICE_ID
        found = await inbox_store.list_inbox(self._pool, caller.user_id, before=before, items_max=query.limit + 1)
        shown = list(found[: query.limit])
        more = len(found) > query.limit
        away = absence(await preferences_store.find_away_since(self._pool, caller.user_id))
        return NoticesView(
            items=shown,
            next_cursor=encode_cursor(shown[-1].notification_id) if more else None,
            away_since=away.away_since,
            to_come_back=away.to_come_back,
        )

    @endpoint("GET", "/api/notifications/unread")
    async def count_unread(self, caller: Caller) -> UnreadView:
        """How many of your notices are unread, as far as somebody wants to know.

        Counted when it is asked, among a bounded number of the newest notices behind the last one that you read with
        everything before it: so it takes the same time however full the inbox is. A counter kept with each inbox would
        be as fast to read, and would double what a fan-out writes.
        """
        await self._activity.note(caller)
        return await self._unread(caller)

    @endpoint("POST", "/api/notifications/read")
    async def read(self, caller: Caller, body: Reading) -> UnreadView:
        """Mark some of your notices as read, or everything; ids that are not in your inbox change nothing."""
        await self._activity.note(caller)
        if body.ids is None:
            await inbox_store.read_all(self._pool, caller.user_id)
        else:
            await inbox_store.read_some(self._pool, caller.user_id, body.ids)
        return await self._unread(caller)

    async def _unread(self, caller: Caller) -> UnreadView:
        found = await inbox_store.count_unread(self._pool, caller.user_id, notices_max=UNREAD_LOOKED_AT_MAX)
        return UnreadView(unread=found.unread, more=found.notices == UNREAD_LOOKED_AT_MAX)
