"""The fan-outs' tables as the objects that the rest of notify speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from notify.notices import Notice
from notify.store import queries
from runtime.postgres import Connection, Pool


@dataclass(frozen=True, slots=True)
class Fanout:
    """How far a stream's followers have been told. Counts are of pages and of inbox rows."""

    fanout_id: UUID
    stream_id: UUID
    channel_id: UUID
    pages_planned: int
    pages_done: int
    recipients: int
    started_at: datetime
    planned_through: UUID | None
    """The last follower id within a planned page."""
    planned_at: datetime | None
    """None while the plan goes on."""
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Boundary:
    """The follower at a position (from 1) among the candidates of a plan."""

    follower_id: UUID
    position: int


async def insert_fanout(connection: Connection, notice: Notice) -> bool:
    """Begin the fan-out of a stream; False: it was begun before."""
    fanout_id = await queries.insert_fanout(
        connection,
        fanout_id=notice.notification_id,
        kind=notice.kind,
        stream_id=notice.stream_id,
        channel_id=notice.channel_id,
        channel_name=notice.channel_name,
        title=notice.title,
        category=notice.category,
        started_at=notice.created_at,
    )
    return fanout_id is not None


async def find_page_boundaries(
    connection: Connection, notice: Notice, *, after: UUID, page_followers: int, followers_max: int
) -> Sequence[Boundary]:
    """Of the next `followers_max` followers with a greater id: every `page_followers`-th, and the last."""
    rows = await queries.find_page_boundaries(
        connection,
        channel_id=notice.channel_id,
        after_follower_id=after,
        started_at=notice.created_at,
        page_followers=page_followers,
        followers_max=followers_max,
    )
    return [Boundary(**row) for row in rows]


async def advance_plan(
    connection: Connection, fanout_id: UUID, *, pages: int, planned_through: UUID | None, is_last: bool
) -> bool:
    """Note that `pages` more were planned; whether the fan-out is thereby complete (there was nothing to do)."""
    completed: bool = await queries.advance_plan(
        connection, fanout_id=fanout_id, pages=pages, planned_through=planned_through, is_last=is_last
    )
    return completed


async def claim_page(connection: Connection, fanout_id: UUID, page_number: int) -> bool:
    """Mark a page as told within this transaction; False: it was told before."""
    claimed = await queries.claim_page(connection, fanout_id=fanout_id, page_number=page_number)
    return claimed is not None


async def write_notices(connection: Connection, notice: Notice, *, after: UUID, last: UUID) -> int:
    """Put a notice into the inbox of every follower in `(after, last]`; how many did not have it yet."""
    written: int = await queries.write_notices(
        connection,
        notice_id=notice.notification_id,
        channel_id=notice.channel_id,
        started_at=notice.created_at,
        after_follower_id=after,
        last_follower_id=last,
    )
    return written


async def count_page_done(connection: Connection, fanout_id: UUID, page_number: int, *, recipients: int) -> Fanout:
    """Count a claimed page; the fan-out as it stands then, its row held for the rest of the transaction."""
    await queries.note_page_recipients(connection, fanout_id=fanout_id, page_number=page_number, recipients=recipients)
    return Fanout(**await queries.count_page_done(connection, fanout_id=fanout_id, recipients=recipients))


async def find_fanout(pool: Pool, fanout_id: UUID) -> Fanout | None:
    """How a fan-out stands."""
    row = await queries.find_fanout(pool, fanout_id=fanout_id)
    return Fanout(**row) if row else None
