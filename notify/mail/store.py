"""The tables of mail as the objects that the rest of mail speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from notify.store import FIRST_USER_ID
from runtime.ids import uuid7
from runtime.postgres import Connection, Pool, load_queries

queries = load_queries("notify")

BOUNCED_DAYS_KEPT = 90


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A person's verified address."""

    destination_id: UUID
    address: str
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class Verification:
    """An address that is not verified: asked for, or given up because it does not exist."""

    verification_id: UUID
    address: str
    state: Literal["requested", "bounced"]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a notice goes to. `username` is None when nobody told it."""

    destination_id: UUID
    address: str
    unsubscribed_at: datetime | None
    username: str | None


@dataclass(frozen=True, slots=True)
class MailedFanout:
    """What a notice tells, and how its fan-out stands."""

    fanout_id: UUID
    kind: str
    stream_id: UUID
    channel_name: str
    title: str
    category: str | None
    state: str


@dataclass(frozen=True, slots=True)
class MailedVerification:
    """An address that waits for its mail."""

    verification_id: UUID
    address: str
    username: str | None


@dataclass(frozen=True, slots=True)
class DueDigest:
    """Somebody whose hour it is, in their time zone, and the day that begins with it."""

    time_zone: str
    digest_hour: int
    user_id: UUID
    digest_day: date


@dataclass(frozen=True, slots=True)
class ClaimedDigest:
    """Somebody whose digest of a day is made now, with what they have not read since a moment."""

    user_id: UUID
    digest_day: date
    covers_from: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """The newest unread notices of a person, and how many there are."""

    user_id: UUID
    destination_id: UUID
    unread: int
    notice_ids: Sequence[UUID]


async def find_mailbox(connection: Connection | Pool, user_id: UUID) -> Mailbox | None:
    """A person's verified address."""
    row = await queries.find_mailbox(connection, user_id=user_id)
    return Mailbox(**row) if row else None


async def find_verification(connection: Connection | Pool, user_id: UUID) -> Verification | None:
    """A person's address that is not verified."""
    row = await queries.find_verification(connection, user_id=user_id)
    return Verification(**row) if row else None


async def find_recipients(pool: Pool, destination_ids: Sequence[UUID]) -> Mapping[UUID, Recipient]:
    """By destination; those that are gone are missing."""
    rows = await queries.find_mailboxes(pool, destination_ids=destination_ids)
    return {row["destination_id"]: Recipient(**row) for row in rows}


async def find_mailed_fanouts(pool: Pool, fanout_ids: Sequence[UUID]) -> Mapping[UUID, MailedFanout]:
    """By notice."""
    rows = await queries.find_mailed_fanouts(pool, fanout_ids=fanout_ids)
    return {row["fanout_id"]: MailedFanout(**row) for row in rows}


async def find_mailed_verifications(pool: Pool, ids: Sequence[UUID]) -> Mapping[UUID, MailedVerification]:
    """By id; those that are over are missing."""
    rows = await queries.find_mailed_verifications(pool, verification_ids=ids)
    return {row["verification_id"]: MailedVerification(**row) for row in rows}


async def list_due_digests(
    connection: Connection, *, after: DueDigest | None, people_max: int, late_hours_max: int
) -> Sequence[DueDigest]:
    """The next people whose digest is due, behind the last of the batch before."""
    rows = await queries.list_due_digests(
        connection,
        after_time_zone=after.time_zone if after else "",
        after_digest_hour=after.digest_hour if after else 0,
        after_user_id=after.user_id if after else FIRST_USER_ID,
        people_max=people_max,
        late_hours_max=late_hours_max,
    )
    return [DueDigest(**row) for row in rows]


async def claim_digests(connection: Connection, due: Sequence[DueDigest], *, days_max: int) -> Sequence[ClaimedDigest]:
    """Those of them whose digest is made in this transaction and in no other."""
    rows: Sequence[Mapping[str, Any]] = await queries.claim_digests(
        connection,
        user_ids=[one.user_id for one in due],
        digest_days=[one.digest_day for one in due],
        days_max=days_max,
    )
    return [ClaimedDigest(**row) for row in rows]


async def find_unread(
    connection: Connection, due: Sequence[ClaimedDigest], *, notices_max: int, counted_max: int
) -> Sequence[Unread]:
    """What people have not read; those who have read everything are missing."""
    rows = await queries.find_digest_notices(
        connection,
        user_ids=[one.user_id for one in due],
        covers_from=[one.covers_from for one in due],
        notices_max=notices_max,
        counted_max=counted_max,
    )
    return [Unread(**row) for row in rows]


async def give_up_bounced(connection: Connection, destination_ids: Sequence[UUID], *, bounces_max: int) -> int:
    """Count that these mailboxes do not exist, and forget those of which it was said too often; how many those are."""
    rows = await queries.count_bounces(connection, destination_ids=destination_ids)
    given_up = [row for row in rows if row["bounces"] >= bounces_max]
    for row in given_up:
        await queries.keep_bounced(
            connection,
            verification_id=uuid7(),
            user_id=row["user_id"],
            address=row["address"],
            days_kept=BOUNCED_DAYS_KEPT,
        )
    await queries.delete_mail_destinations_by_id(
        connection, destination_ids=[row["destination_id"] for row in given_up]
    )
    return len(given_up)
