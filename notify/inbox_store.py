"""Inboxes as the objects that the rest of notify speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import Field

from notify.notices import Notice
from notify.store import FIRST_USER_ID, LAST_USER_ID
from runtime.postgres import Pool, load_queries

queries = load_queries("notify")

FIRST_NOTICE_ID = FIRST_USER_ID
LAST_NOTICE_ID = LAST_USER_ID


class InboxNotice(Notice):
    """A notice in somebody's inbox."""

    read: bool = Field(description="Whether you have read it.")


@dataclass(frozen=True, slots=True)
class Unread:
    """How many of the `notices` that were looked at are unread."""

    unread: int
    notices: int


async def list_inbox(
    pool: Pool, user_id: UUID, *, before: UUID = LAST_NOTICE_ID, items_max: int
) -> Sequence[InboxNotice]:
    """A person's inbox, the newest first, below a notice's id."""
    rows = await queries.list_inbox(pool, user_id=user_id, before_notice_id=before, items_max=items_max)
    return [InboxNotice(**row) for row in rows]


async def count_unread(pool: Pool, user_id: UUID, *, notices_max: int) -> Unread:
    """Unread ones among the newest `notices_max` above the last that was read with everything before it."""
    row = await queries.count_unread(pool, user_id=user_id, first_notice_id=FIRST_NOTICE_ID, notices_max=notices_max)
    return Unread(**row)


async def read_all(pool: Pool, user_id: UUID) -> None:
    """Everything in the inbox is read."""
    await queries.read_all(pool, user_id=user_id)


async def read_some(pool: Pool, user_id: UUID, notice_ids: Sequence[UUID]) -> None:
    """These are read; those that are not in the person's inbox change nothing."""
    await queries.read_some(pool, user_id=user_id, notice_ids=notice_ids)
